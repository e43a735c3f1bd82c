"""Furniture, bedding, light and floor care."""

TABLE = """
== Sofas | Home > Living Room | furniture | 52 | 349-1299 | home
title {brand} {model} {seats} Sofa {Cover} {Colour} {width}
title {brand} {model} {seats} {Form} Sofa in {cover}, {Colour}, {width} Wide
line seats: 2-Seater *0.8 | 3-Seater | 4-Seater *1.3
line form: corner *1.3 | sofa bed *1.2 | classic
line cover: velvet *1.1 | boucle *1.15 | woven fabric | leather *1.6
line width: 168 cm *0.95 | 198 cm | 226 cm *1.1 | 258 cm *1.2
each colour: grey | beige | forest green | navy | rust
lead Sink in after work: deep seats, loose back cushions and a frame of solid beech.
lead The {model} brings calm lines and soft {cover} to the living room.
lead A place for film nights and afternoon naps, {width} wide and hard to leave.
say [form=sofa bed] It folds out into a bed for two guests, with storage for duvets below.
say [form=corner] The chaise can be mounted left or right.
say [seats=2-Seater] A compact couch for small flats.
say [cover=leather] The hide is dyed through and gets better looking with the years.
say [cover=velvet] Its short pile is brushed clean in a moment.
say Covers come off for washing and spare legs are available.
say Delivered in two boxes that pass narrow stairs.

== Armchairs | Home > Living Room | furniture | 36 | 149-549 | home
title {brand} {model} {Form} Armchair {Cover} {Colour} {legs} Legs
title {brand} {model} {Form} Chair with Armrests, {Cover}, {Colour}
line form: wing *1.2 | recliner *1.5 | lounge | cocktail *0.8
line cover: velvet | boucle *1.15 | woven fabric | leather *1.5
line legs: oak | walnut *1.05 | black steel
each colour: mustard | grey | forest green | cream | rust
lead An easy chair for the reading corner, upholstered in {cover} on {legs} legs.
lead Put it by the window, add a lamp, and nobody will find you before dinner.
say [form=recliner] A lever tips the back and lifts your feet.
say [form=wing] High sides keep draughts away from the head.
say [form=cocktail] Its small footprint suits bedrooms and halls.
say Felt pads protect wooden floors.
say Springs under the seat keep it in shape.

== Sofa Covers | Home > Living Room | decor | 36 | 19-79 | home
title {brand} {model} Stretch Sofa Cover {Seats} {material} {Colour}
title {brand} {model} {Seats} Sofa Slipcover Washable {Material} {Colour}
line material: jersey | velvet *1.3 | jacquard *1.15
each seats: 2-Seater *0.8 | 3-Seater | 4-Seater *1.25
each colour: grey | beige | navy | charcoal | wine red
lead New clothes for tired furniture: this elastic {material} throw fits most {seats} models.
lead Hides stains and cat claws, and goes into the machine at 40 degrees.
say Foam sticks pushed into the folds hold it tight.
say Separate pieces for the cushions are not needed.
say Measure from arm to arm before ordering.

== Desks | Home > Office | furniture | 40 | 99-549 | home
title {brand} {model} {Form} Desk {size} {Top} Top {Frame} Frame
title {brand} {model} {Form} Computer Table {Top} {size}, {Frame}
line form: standing *1.6 | writing | corner *1.15 | folding *0.6
line top: oak | walnut *1.1 | white *0.9 | bamboo
line frame: black steel | white steel
each size: 100 x 60 cm *0.85 | 120 x 60 cm | 140 x 70 cm *1.1 | 160 x 80 cm *1.25
lead Room for two screens and a cup: a {top} board of {size} on a steady frame.
lead A clean workplace for the home office, with a tray that swallows cables.
say [form=standing] Two motors lift it from 62 to 127 cm, and four heights are remembered.
say [form=folding] Legs fold flat, so it disappears behind the door at night.
say [form=corner] It makes use of the dead angle between two walls.
say [form=writing] A shallow drawer takes pens and the notebook.
say Rounded edges are kind to wrists.

== Office Chairs | Home > Office | furniture | 36 | 79-449 | code
title {brand} {model} {Kind} Office Chair {Back} Back {Arms} {Colour}
title {brand} {model} {Kind} Swivel Chair with {Back} Back, {load}, {Colour}
line kind: ergonomic *1.2 | executive *1.3 | basic *0.6
line back: mesh | upholstered *1.05
line arms: adjustable arms | fixed arms *0.9
line load: 110 kg *0.9 | 130 kg | 150 kg *1.1
each colour: black | grey | blue
lead Eight hours of sitting feel shorter with a {back} back and a seat that tilts along.
lead A desk seat on soft castors, tested for people of up to {load}.
say [kind=ergonomic] The lumbar support slides up and down to meet your spine.
say [kind=executive] Thick padding and a high back make meetings comfortable.
say [back=mesh] Air passes through the net on hot days.
say [arms=adjustable arms] Armrests move in four directions.
say Assembly takes fifteen minutes with the key in the box.

== Bookcases | Home > Living Room | furniture | 32 | 49-329 | home
title {brand} {model} Bookcase {shelves} Shelves {Wood} {height}
title {brand} {model} {height} {Wood} Shelf Unit, {shelves} Tiers, {Doors}
line shelves: 3 *0.7 | 4 *0.85 | 5 | 6 *1.15
line doors: open | with doors *1.25
each wood: oak | walnut *1.1 | white *0.85 | black
each height: 110 cm *0.8 | 180 cm | 202 cm *1.1
lead Novels, records and plants find their place on {shelves} boards of {wood} finish.
lead A tall friend for readers: {height} of shelving that carries 20 kg a board.
say [doors=with doors] Two doors below hide what guests need not see.
say Brackets for fixing it to the wall are included.
say Each board can be set to another height.

== Bed Frames | Home > Bedroom | furniture sleep | 40 | 129-649 | home
title {brand} {model} Bed Frame {size} {Material} {Head} {Store}
title {brand} {model} {Material} Bed {size} with {Head} and Slats
line material: oak *1.2 | pine *0.7 | upholstered fabric | metal *0.75
line head: headboard | low headboard *0.9
line store: four drawers *1.3 | -
each size: 90 x 200 cm *0.7 | 140 x 200 cm | 160 x 200 cm *1.1 | 180 x 200 cm *1.2
lead Quiet nights on a {material} frame with slats that do not creak.
lead The {model} is as simple as a bed can be, for mattresses of {size}.
say [store=four drawers] Drawers on wheels take linen and winter clothes.
say [material=pine] Untreated wood can be painted or oiled.
say [material=metal] Powder coated tubes screw together without tools.
say Mattress and bedding are sold separately.
say Sitting height is 45 cm, easy on the knees.

== Mattresses | Home > Bedroom | sleep | 44 | 119-699 | home
title {brand} {model} {Core} Mattress {size} {Firmness} {height}
title {brand} {model} {Firmness} {Core} Mattress, {size}, Washable Cover
line core: memory foam | pocket spring *1.15 | cold foam *0.8 | latex *1.4
line firmness: soft | medium | firm
line height: 16 cm *0.8 | 20 cm | 25 cm *1.2
each size: 90 x 200 cm *0.65 | 140 x 200 cm | 160 x 200 cm *1.15 | 180 x 200 cm *1.3
lead Seven zones let shoulders sink and hold the back, whichever way you turn.
lead {Core} of {height} for sleepers who like it {firmness}.
say [core=pocket spring] A thousand single coils move on their own, so a restless partner is not felt.
say [core=memory foam] It takes the shape of the body and slowly returns.
say [core=latex] Natural rubber is springy, airy and lasts for many years.
say The cover zips off and is washed at 60 degrees.
say Sleep on it for a hundred nights and send it back if it is not right.

== Duvet Covers | Home > Bedroom | sleep decor | 44 | 19-119 | home
title {brand} {model} {Cloth} Duvet Cover Set {Size} {Pattern} {Colour}
title {brand} {model} {Cloth} Bedding Set {Size} with Pillowcase {Pattern} {Colour}
line cloth: cotton percale | linen *1.7 | flannel *0.9 | sateen *1.2 | jersey *0.8
line pattern: plain | striped | checked | floral
each size: 135 x 200 cm | 155 x 220 cm *1.1 | 200 x 200 cm *1.3
each colour: white | grey | sage green | terracotta | blue
lead Fresh bed linen in {cloth}, {pattern} and {colour}, with a matching pillowcase.
lead Make the bed look made: a {pattern} cover of {size} that hardly needs the iron.
say [cloth=flannel] Brushed on both sides, it feels warm the moment you slip in.
say [cloth=linen] Flax cools in summer and grows softer with each wash.
say [cloth=sateen] The weave has a quiet sheen.
say A hidden zip closes the bottom edge.
say Certified free of harmful dyes.

== Table Lamps | Home > Lighting | decor | 40 | 19-159 | home
title {brand} {model} {Kind} Lamp {Base} Base {Light} {Colour}
title {brand} {model} {Kind} Table Light {Base} {height} {Light} {Colour}
line kind: bedside *0.8 | desk | living room *1.3
line base: ceramic | brass *1.3 | oak | marble *1.5
line light: dimmable LED *1.2 | E27 socket | rechargeable *1.2
line height: 28 cm *0.9 | 38 cm | 52 cm *1.2
each colour: white | black | green | amber
lead Warm light on a {base} foot, {height} tall, for evenings with a book.
lead A small {kind} lamp that looks good even when it is off.
say [light=dimmable LED] Touch the base to choose between three levels.
say [light=rechargeable] No wire at all: it shines for twelve hours between charges.
say [light=E27 socket] Takes any common bulb, not included.
say The shade tilts, so nobody is dazzled.

== Rugs | Home > Living Room | decor | 40 | 39-329 | home
title {brand} {model} {Pile} Rug {size} {Fibre} {Pattern} {Colour}
title {brand} {model} {Pattern} {Fibre} Carpet {size} {Pile} {Colour}
line pile: short pile | shaggy | flat woven *0.8
line fibre: wool *1.5 | cotton | jute *0.9 | polypropylene *0.6
line pattern: geometric | plain | oriental | striped
each size: 80 x 150 cm *0.5 | 120 x 170 cm *0.8 | 160 x 230 cm | 200 x 300 cm *1.6
each colour: beige | blue | grey | red
lead Bare feet will thank you: {fibre} underfoot and a {pattern} design in {colour}.
lead It draws the seating together and swallows the echo of hard floors.
say [pile=shaggy] Long soft strands invite children to play.
say [pile=flat woven] Doors glide over it and the vacuum has an easy job.
say [fibre=jute] Plant fibre in its natural shade, for dry rooms.
say Also right for underfloor heating.
say A non-slip mat is sold separately.

== Curtains | Home > Living Room | decor | 32 | 15-99 | home
title {brand} {model} {Kind} Curtains {size} {Head} Pair {Colour}
title {brand} {model} {Kind} Window Drapes, {Head}, {size}, Set of 2, {Colour}
line kind: blackout *1.2 | sheer *0.7 | thermal *1.3 | linen look
line head: eyelets | pencil pleat
each size: 140 x 175 cm *0.8 | 140 x 225 cm | 140 x 260 cm *1.2
each colour: grey | white | navy | ochre
lead Two panels of {size} change the mood of a room in minutes.
lead Soft folds in {colour} frame the window and keep looks outside.
say [kind=blackout] Dense cloth makes noon dark enough for shift workers and babies.
say [kind=thermal] A coated back holds the heat in winter and the sun out in summer.
say [kind=sheer] Daylight comes through, curious eyes do not.
say Wash cool and hang them wet; creases fall out.

== Vacuum Cleaners | Home > Cleaning | floorcare | 48 | 89-549 | code
title {brand} {model} {Form} Vacuum Cleaner {Bin} {power} {Pet} {Colour}
title {brand} {model} {Form} Vacuum {Bin} with {filter} Filter {Colour}
line form: cordless stick *1.2 | cylinder *0.8 | upright | robot *1.4
line bin: bagless | bagged *0.8
line power: 350 W *0.8 | 550 W | 750 W *1.1
line pet: pet hair brush *1.1 | -
line filter: HEPA *1.1 | foam
each colour: red | grey | blue
lead Crumbs, sand and dust disappear from carpet and hard floor in one pass.
lead The {model} cleans thoroughly without shouting about it.
say [form=cordless stick] Sixty minutes of battery do the whole flat, and it hangs on the wall to charge.
say [form=robot] It maps the rooms with a laser and returns to its dock to empty itself.
say [form=cylinder] A cable of nine metres saves you looking for sockets.
say [pet=pet hair brush] Dog and cat owners get a rubber roller that hair cannot wrap around.
say [bin=bagless] Empty the dust box over the bin and rinse it.
say [filter=HEPA] The fine filter keeps pollen in, which allergy sufferers notice.

== Vacuum Filters | Home > Cleaning | own refills | 48 | 8-35 | none
fits Vacuum Cleaners, filter
title {brand} {Filter} Replacement Filter for {fits} Vacuum Cleaner {pack} Pack
title {brand} {fits} {Filter} Filter {pack}-Pack {Origin}
line wash: washable *1.2 | disposable
each pack: 1 *0.7 | 2 | 4 *1.6
lead Suction back to new: a fresh {filter} filter for the {fits}.
lead Change it every six months and the {fits} will not smell.
say [wash=washable] Rinse it under cold water and let it dry for a day.
say [origin=compatible] A compatible part by {brand}, checked for a tight seal.
say [origin=original] Original spare part from the maker of the machine.
say Pieces in the pack: {pack}. The machine is not included.

== Air Purifiers | Home > Climate | floorcare | 36 | 79-449 | code
title {brand} {model} Air Purifier {filter} Filter up to {room} {noise} {Colour}
title {brand} {model} Room Air Cleaner for {room} with {filter} Filter and {sensor}
line room: 20 m2 *0.7 | 45 m2 | 80 m2 *1.4
line filter: HEPA 13 | HEPA 14 *1.15 | carbon and HEPA *1.1
line noise: 24 dB | 31 dB *0.9
line sensor: dust sensor | app control *1.15
each colour: white | black
lead Pollen, smoke and cooking smells leave rooms of up to {room} within half an hour.
lead Breathe out: it filters quietly at {noise} while you sleep.
say [sensor=app control] See the air outside and inside on the phone.
say [sensor=dust sensor] A ring of light turns from red to green as the air gets better.
say The filter lasts about a year and tells you when it is full.
say Allergy seasons become easier to bear.

== Purifier Filters | Home > Climate | own refills | 36 | 15-69 | none
fits Air Purifiers, filter
title {brand} {Filter} Replacement Filter for {fits} Air Purifier {pack}
title {brand} {fits} {Filter} Filter {Origin} {pack}
line layer: pre-filter mesh | active carbon layer *1.15
each pack: single | twin pack *1.7
lead A new {filter} element for the {fits}, ready for another year.
lead Swap it without tools, reset the light, and the {fits} breathes again.
say [layer=active carbon layer] Granules of charcoal bind odours.
say [layer=pre-filter mesh] An outer net catches hair before it clogs the folds.
say [origin=compatible] Third-party part with the same folded surface.
say Purifier not included.
"""
