"""Clothes and shoes for every day."""

TABLE = """
== T-Shirts | Clothing > Tops | fashion | 48 | 9-45 | fashion
title {brand} {model} {Gender} {Fit} T-Shirt {Cloth} {Neck} {Colour} {size}
title {brand} {Gender} {model} Tee {Neck} {Cloth} {Colour} Size {size}
line gender: men's | women's | unisex
line cloth: organic cotton *1.1 | cotton *0.8 | linen *1.4 | merino *2
line neck: crew neck | V-neck
line fit: regular | oversized *1.1 | slim
each size: S | M | L | XL
each colour: white | black | navy | red | olive
lead The top you reach for first: {cloth} with a {neck} that keeps its shape.
lead Cut {fit}, sewn in Portugal and softer after every wash.
say [cloth=merino] Fine wool keeps cool and does not smell after a long day.
say [cloth=linen] Airy flax for the hottest weeks.
say [cloth=organic cotton] The fibre is grown without pesticides.
say Goes under a blazer as well as over swimming shorts.
say Machine wash at 30 degrees.

== Jeans | Clothing > Trousers | fashion | 44 | 29-129 | fashion
title {brand} {model} {Gender} {Fit} Jeans {Wash} W{waist} L{length}
title {brand} {Gender} {Fit} Denim Trousers {model} {Wash} W{waist} L{length}
line gender: men's | women's
line fit: slim | straight | wide leg | skinny | tapered
line wash: dark blue | light blue | black | grey
line stretch: stretch | rigid
each waist: 28 | 30 | 32 | 34 | 36
each length: 30 | 32 | 34
lead Five pockets, strong seams and a {fit} leg in {wash}.
lead Denim that looks right with boots and with a shirt tucked in.
say [stretch=stretch] A little elastane moves with you on the bike.
say [stretch=rigid] Firm cloth that slowly takes your shape.
say The rise is medium and the button is copper.
say Dyeing takes a tenth of the usual water.

== Jumpers | Clothing > Tops | fashion | 44 | 29-139 | fashion
title {brand} {model} {Gender} {Yarn} Jumper {Neck} {Colour} {size}
title {brand} {Gender} {model} Knitted {Neck} Sweater {Yarn} {Colour} Size {size}
line gender: men's | women's
line yarn: lambswool *1.2 | cotton *0.8 | cashmere *2 | recycled wool
line neck: roll neck | crew neck | half zip
each size: S | M | L | XL
each colour: grey | cream | forest green | burgundy | navy
lead A warm layer in {yarn} with ribbed cuffs, for offices and autumn walks.
lead Knitted in one piece, so no seam rubs at the shoulder.
say [yarn=cashmere] Featherlight and wonderfully soft on bare skin.
say [neck=roll neck] The tall collar makes a scarf unnecessary.
say [neck=half zip] Open the zip when the bus is heated.
say This pullover likes a cold hand wash and drying flat.

== Dresses | Clothing > Dresses | fashion | 44 | 29-149 | fashion
title {brand} {model} Women's {Length} Dress {Cloth} {Pattern} {Colour} {size}
title {brand} {model} {Sleeve} {Length} {Cloth} Dress {Pattern} {Colour} Size {size}
line length: midi | maxi *1.1 | mini *0.9
line cloth: cotton | linen *1.2 | viscose *0.9 | satin *1.2
line pattern: floral | plain | polka dot | striped
line sleeve: sleeveless | short sleeve | long sleeve *1.1
each size: 36 | 38 | 40 | 42
each colour: red | navy | black | green | yellow
lead From garden party to office: a {length} frock in {cloth} with side pockets.
lead It falls softly, ties at the waist and packs small.
say [cloth=satin] The cloth shimmers in evening light, fit for a wedding guest.
say [sleeve=sleeveless] Bare arms for summer, layered over a shirt in spring.
say [pattern=floral] Small blossoms cover it like a meadow.
say Fully lined, with a zip at the side.

== Rain Jackets | Clothing > Jackets | fashion outdoor | 44 | 45-179 | outdoor
title {brand} {model} {Gender} Rain Jacket {Water} {Hood} {Colour} {size}
title {brand} {Gender} {model} Waterproof Raincoat {Water} {Colour} Size {size}
line gender: men's | women's | kids *0.6
line water: 5000 mm *0.85 | 10000 mm | 20000 mm *1.2
line hood: fixed hood | detachable hood *1.05
each size: S | M | L | XL
each colour: yellow | navy | olive | red
lead Puddles welcome: taped seams and a water column of {water} keep you dry.
lead A mac for the city that rolls into its own pocket.
say [hood=detachable hood] The hood unbuttons on fair days.
say [gender=kids] Reflective strips make children visible on the way to school.
say Vents under the arms let steam out.
say The coating contains no fluorocarbons.

== Trainers | Clothing > Shoes | shoes | 56 | 35-139 | fashion
title {brand} {model} {Gender} {Upper} Trainers {Style} {Colour} {size}
title {brand} {model} {Style} {Gender} Trainers {Upper} {Colour} Size {size}
line gender: men's | women's | unisex
line upper: leather *1.2 | canvas *0.7 | suede *1.1 | knit
line style: low-top | high-top *1.1 | platform
each size: 38 | 39 | 40 | 41 | 42 | 43
each colour: white | black | red | beige | navy
lead Everyday shoes in {upper} with a sole that forgives cobblestones.
lead A clean {style} shape that goes with jeans, skirts and suits.
say [upper=leather] A damp cloth is all the care they ask for.
say [upper=canvas] Throw them in the wash at 30 degrees.
say The insole comes out, so your own fits in.
say Wear these sneakers once and the old pair stays in the hall.
say They run true to size.

== Socks | Clothing > Underwear | fashion outdoor | 40 | 7-29 | none
title {brand} {Gender} {Yarn} {Use} Socks {size} {pack} {Colour}
title {brand} {Use} Socks {Yarn} {pack}, {Colour}, Size {size}
line gender: men's | women's | unisex
line yarn: cotton *0.8 | merino *1.5 | bamboo
line use: hiking *1.2 | everyday | running *1.1
each pack: 1 pair *0.7 | 3 pairs | 5 pairs *1.5
each size: 35-38 | 39-42 | 43-46
each colour: black | grey | navy
lead Soft {yarn} feet with a flat toe seam and a heel that lasts.
lead Ready for {use} days: padded where shoes press.
say [yarn=merino] Wool regulates heat and hardly smells.
say [use=hiking] A high shaft keeps sand and ticks out.
say The cuff holds without leaving marks.
say Wash inside out at 40 degrees.

== Gloves | Clothing > Accessories | fashion outdoor | 36 | 12-79 | none
title {brand} {Gender} {Material} Gloves {Touch} {Use} {Colour} {size}
title {brand} {Use} Gloves {Material} with {Lining} Lining {Colour} Size {size}
line gender: men's | women's | unisex
line material: leather *1.6 | knitted wool | softshell *1.1
line lining: fleece | cashmere *1.5 | synthetic down *1.2
line use: winter | cycling | ski *1.4
line touch: touchscreen | -
each size: S | M | L
each colour: black | brown | grey | red
lead Warm fingers in {material}, lined with {lining}.
lead For {use} mornings when the handlebar is frozen and the bus is late.
say [touch=touchscreen] Thumb and finger work on phone displays.
say [material=softshell] Wind stays outside, sweat does not stay inside.
say A clip keeps the pair together.

== Beanies | Clothing > Accessories | fashion outdoor | 36 | 9-49 | fashion
title {brand} {model} {Yarn} Beanie {Style} {Colour} One Size
title {brand} {model} Knitted Hat {Yarn} {Style} {Colour}
line yarn: merino *1.4 | acrylic *0.6 | lambswool | recycled polyester *0.8
line style: cuffed | slouchy | with bobble *1.1
each colour: grey | mustard | navy | black | red
lead Pull it over the ears and winter may come.
lead A {yarn} cap that does not scratch and does not slip.
say [style=with bobble] The pompom buttons off before washing.
say [style=cuffed] Fold the rim once or twice, as you like.
say It fits heads of 54 to 61 cm.
say [yarn=recycled polyester] The yarn was bottles once.

== Backpacks | Clothing > Bags | outdoor fashion | 48 | 29-139 | outdoor
title {brand} {model} {Use} Backpack {volume} {Laptop} {Colour}
title {brand} {model} {volume} {Use} Backpack {Material} Water-Repellent {Colour}
line use: city | hiking *1.2 | school *0.9 | travel *1.3
line volume: 18 l *0.8 | 24 l | 32 l *1.15 | 45 l *1.35
line laptop: 15.6 inch laptop pocket | -
line material: recycled polyester | waxed canvas *1.3 | nylon
each colour: black | olive | navy | mustard | grey
lead It carries {volume} without pulling at your shoulders.
lead A rucksack in {material} with a pocket for everything you look for on trains.
say [laptop=15.6 inch laptop pocket] A padded sleeve at the back guards the computer.
say [use=hiking] Hip belt, rain cover and a place for trekking poles are on board.
say [use=school] Reflectors and a sturdy base stand years of classrooms.
say [use=travel] It opens like a suitcase and passes as cabin luggage.
say The chest strap has a whistle.

== Handbags | Clothing > Bags | fashion | 36 | 35-229 | fashion
title {brand} {model} {Form} Bag {Material} {Clasp} {Colour}
title {brand} {model} Women's {Material} {Form} Handbag {Colour}
line form: shoulder | crossbody *0.9 | tote *1.1 | bucket
line material: leather *1.5 | vegan leather | canvas *0.7 | suede *1.4
line clasp: zip | magnetic clasp
each colour: black | tan | burgundy | cream
lead Purse, keys, book and umbrella: the {model} takes them and stays elegant.
lead A {form} shape in {material} for work and the evening after it.
say [form=tote] Papers in A4 lie flat inside.
say [form=crossbody] Both hands are free on the market.
say An inner pocket with a zip protects cards.
say The strap adjusts from 60 to 110 cm.

== Belts | Clothing > Accessories | fashion | 32 | 12-69 | none
title {brand} {Gender} {Material} Belt {width} {Buckle} {Colour} {size}
title {brand} {Material} Belt {width} with {Buckle} Buckle {Colour} {size}
line gender: men's | women's | unisex
line material: leather *1.4 | vegan leather | woven elastic *0.8
line width: 3 cm | 3.5 cm | 4 cm
line buckle: brass | silver | matt black
each size: 85 cm | 95 cm | 105 cm
each colour: black | brown | tan
lead {Width} wide and {size} long, with a {buckle} buckle that will not tarnish.
lead Holds jeans and dress trousers alike.
say [material=leather] One piece of vegetable tanned hide, not bonded scraps.
say [material=woven elastic] It stretches when you sit down.
say Punch no holes: five are there.
"""
