"""Running, cycling, training and ball sports."""

TABLE = """
== Running Shoes | Sport > Running | shoes | 64 | 59-169 | code
title {brand} {model} {Gender} {Surface} Running Shoes {Cushion} {Colour} {size}
title {brand} {model} Running Shoes {Gender} {Surface} {drop} Drop {Colour} Size {size}
line gender: men's | women's
line surface: road | trail *1.1
line cushion: neutral | stability *1.05 | max cushion *1.15
line drop: 4 mm | 8 mm | 10 mm
each size: 38 | 39 | 40 | 41 | 42 | 43
each colour: red | black | blue | white | neon yellow
lead Lace up and go: light foam, a roomy toe box and {drop} of drop.
lead Built for {surface} miles, with a heel that guides and a mesh that breathes.
say [surface=trail] Deep lugs bite into mud and wet roots.
say [surface=road] Smooth rubber rolls quietly on asphalt.
say [cushion=stability] A firmer inner edge steadies feet that roll inwards.
say [cushion=max cushion] Thick soles spare the knees on long runs.
say Reflective details show you to drivers at dusk.
say Joggers take half a size more than in street shoes.

== Running Shorts | Sport > Running | shoes fitness | 36 | 15-59 | none
title {brand} {Gender} Running Shorts {Length} {Lining} {Pocket} {Colour} {size}
title {brand} {Gender} {Length} Sports Shorts for Running {Lining} {Colour} Size {size}
line gender: men's | women's
line length: 5 inch | 7 inch | 9 inch
line lining: with liner *1.1 | unlined
line pocket: phone pocket *1.1 | key pocket
each size: S | M | L | XL
each colour: black | blue | red | grey
lead Light cloth, flat seams and slits that give every stride room.
lead Dry within an hour, these shorts ask for intervals.
say [lining=with liner] Built-in briefs make underwear unnecessary.
say [pocket=phone pocket] The telephone sits still in the small of the back.
say [pocket=key pocket] A tiny zip keeps one key and one note.
say The waist has a cord that does not vanish in the wash.

== Bikes | Sport > Cycling | bikes | 40 | 349-1699 | outdoor
title {brand} {model} {wheel} {Form} Bike {gears} Gears {Frame} Frame {Colour}
title {brand} {model} {Form} Bicycle {wheel} {Brakes} {gears}-Speed {Colour} {size}
line form: mountain *1.1 | city *0.8 | gravel *1.2 | electric city *1.9
line wheel: 26 inch *0.9 | 27.5 inch | 28 inch | 29 inch *1.05
line gears: 7 *0.8 | 10 | 21 *0.9 | 24
line brakes: hydraulic disc brakes *1.1 | rim brakes *0.9
line frame: aluminium | steel *0.9 | carbon *2.4
each size: S | M | L
each colour: black | red | petrol | sand
lead Ready for the commute and the Sunday ride, on {wheel} wheels with {gears} gears.
lead The {model} rolls easily and stops surely, thanks to {brakes}.
say [form=electric city] The motor helps up to 25 km/h for about eighty kilometres.
say [form=mountain] A fork with 100 mm of travel smooths roots.
say [form=city] Lights, rack and mudguards are mounted.
say [form=gravel] Wide tyres and a dropped bar invite you to leave the road.
say It comes nine tenths assembled; tools are in the box.

== Bike Tubes | Sport > Cycling | bikes | 40 | 5-15 | none
title {brand} Bike Inner Tube {wheel} {width} {Valve} {pack}
title {brand} {wheel} Bicycle Tube {width} with {Valve} {Rubber} {pack}
line rubber: butyl | latex *1.6 | TPU *1.8
line wheel: 20 inch *0.9 | 26 inch | 27.5 inch | 28 inch | 29 inch
each width: 1.5-1.75 inch | 1.75-2.35 inch
each valve: presta valve | schrader valve | dunlop valve
each pack: single | 2-pack *1.8
lead A spare hose for {wheel} wheels, because glass lies everywhere.
lead Fix a flat on the road: fits tyres {wheel} across and {width} wide.
say [rubber=latex] Supple and fast, it wants air every few days.
say [rubber=TPU] It weighs a third and hides in a jersey pocket.
say The {valve} is 40 mm long.
say Levers and patches are sold apart.

== Bike Helmets | Sport > Cycling | bikes | 36 | 29-179 | outdoor
title {brand} {model} {Use} Bike Helmet {Safety} {size} {Colour}
title {brand} {model} {Use} Cycling Helmet {vents} Vents {size} {Light} {Colour}
line use: road *1.1 | mountain | city | kids *0.6
line safety: MIPS *1.2 | -
line vents: 9 | 14 | 22 *1.1
line light: rear light *1.1 | -
each size: 48-54 cm | 52-58 cm | 58-62 cm
each colour: white | black | blue | red
lead Light on the head and strong in a fall, with {vents} openings for air.
lead Turn the dial and it sits; {size} of head size are covered.
say [safety=MIPS] A sliding layer takes the twist out of an oblique hit.
say [light=rear light] Red diodes at the back blink for thirty hours.
say [use=kids] Soft buckles never pinch small chins.
say Pads can be taken out and washed.

== Bike Locks | Sport > Cycling | bikes | 32 | 14-99 | code
title {brand} {model} {Form} Bike Lock {length} {Key} Security Level {level}
title {brand} {model} {Form} Bicycle Lock {length} {Key} {Colour}
line form: folding *1.3 | U-shape *1.1 | chain | cable *0.5
line key: key | combination *0.95
line length: 85 cm | 110 cm *1.1
line level: 6 *0.7 | 10 | 15 *1.5
each colour: black | grey
lead Thieves look for an easier one: hardened steel, level {level} of 15.
lead Round the frame and the post with {length} of reach.
say [form=folding] Six bars fold into a holder on the frame.
say [form=cable] Quick protection outside the bakery.
say [key=combination] Four digits, nothing to lose.
say [key=key] Two keys and a code card for reorders come along.

== Yoga Mats | Sport > Fitness | fitness | 36 | 15-99 | home
title {brand} {model} Yoga Mat {Material} {thick} Non-Slip {Colour}
title {brand} {model} {Material} Exercise Mat {thick} 183 x {width} {Colour}
line material: natural rubber *1.4 | cork *1.3 | TPE | PVC *0.6
line thick: 3 mm *0.9 | 5 mm | 8 mm *1.1
line width: 61 cm | 66 cm
each colour: purple | sage green | black | petrol
lead Hands and feet stay put from the first salute to the last rest.
lead {Thick} of {material} cushion knees and still feel the floor.
say [material=cork] The more you sweat, the better it grips.
say [material=PVC] Robust and simple to wipe, for beginners and gyms.
say A strap for carrying is wrapped around it.
say Lines help you to place your feet.

== Dumbbells | Sport > Fitness | fitness | 36 | 12-189 | code
title {brand} {model} {Form} Dumbbell {weight} {Coat} {Pair}
title {brand} {model} {Form} Hand Weights {weight} {Coat} {Pair}
line form: hexagon | adjustable *2.2 | round *0.9
line coat: rubber | neoprene *0.9 | chrome *1.2
each weight: 2 kg *0.4 | 5 kg *0.6 | 10 kg | 20 kg *1.7
each pair: single *0.6 | pair
lead Build strength at home with {weight} of iron under {coat}.
lead Grip, lift, repeat: the knurled bar sits safely in damp hands.
say [form=adjustable] A turn of the handle changes the load in steps.
say [form=hexagon] Six edges stop it rolling away.
say Floors stay whole when you put it down.
say A poster with twenty exercises is included.

== Footballs | Sport > Ball Sports | games | 32 | 12-99 | outdoor
title {brand} {model} {Use} Football Size {size} {Build} {Colour}
title {brand} {model} {Build} {Use} Soccer Ball Size {size} {Colour}
line use: match *1.5 | training | indoor | street *0.8
line build: thermally bonded *1.4 | machine stitched *0.8 | hand stitched
each size: 3 *0.8 | 4 *0.9 | 5
each colour: white | yellow | red | blue
lead True flight and a soft touch for the park or the league.
lead A ball that keeps its air all season.
say [use=indoor] A felt skin calms the bounce in the hall.
say [use=street] Tough outside for tarmac and walls.
say [size=4] The right size for players from eight to twelve.
say [size=5] Regulation size for adults.
say Delivered flat; pump with a needle.

== Tennis Rackets | Sport > Ball Sports | games | 32 | 29-229 | code
title {brand} {model} Tennis Racket {weight} {head} {Level} {grip}
title {brand} {model} {Level} Tennis Racquet {head} {weight} {Strung}
line level: beginner *0.6 | club | tournament *1.4
line weight: 255 g *0.9 | 280 g | 305 g *1.1
line head: 632 cm2 | 645 cm2 | 690 cm2
each grip: grip 1 | grip 2 | grip 3
each strung: strung *1.1 | unstrung
lead A {head} head and {weight} of frame for {level} players.
lead Graphite that swings through and forgives hits off the centre.
say [strung=strung] It comes with strings at 24 kg.
say [strung=unstrung] Choose your own strings.
say [level=beginner] The large sweet spot helps first rallies.
say Cover included.

== Water Bottles | Sport > Fitness | drinks bikes | 36 | 7-39 | outdoor
title {brand} {model} Sports Water Bottle {volume} {Material} {Cap} {Colour}
title {brand} {model} {Material} Drinking Bottle {volume} {Cap} {Colour}
line material: Tritan *0.9 | stainless steel *1.4 | aluminium
line cap: straw lid | sports cap | screw cap *0.9
each volume: 500 ml *0.9 | 750 ml | 1000 ml *1.15
each colour: blue | black | pink | clear
lead Drink more: {volume} that does not leak in the gym bag.
lead Opens with one hand on the bike or the treadmill.
say [material=stainless steel] Two walls keep water cold until evening.
say [material=Tritan] Clear, tough and free of BPA.
say The neck takes ice cubes.
say Every part survives the dishwasher.
"""
