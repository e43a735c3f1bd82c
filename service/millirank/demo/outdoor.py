"""Hiking and camping."""

TABLE = """
== Hiking Boots | Sport > Hiking | outdoor shoes | 48 | 79-249 | outdoor
title {brand} {model} {Gender} Hiking Boots {Waterproof} {Upper} {Colour} {size}
title {brand} {model} {Height} {Waterproof} Walking Boots {Gender} {Upper} {Colour} Size {size}
line gender: men's | women's
line waterproof: waterproof *1.15 | -
line upper: leather *1.2 | suede and mesh | synthetic *0.85
line height: mid-cut | high-cut *1.1
each size: 38 | 39 | 40 | 41 | 42 | 43
each colour: brown | grey | olive | black
lead Sure steps on scree and roots with a deep sole and a firm ankle.
lead {Upper} boots for hut tours with a rucksack of fifteen kilos.
say [waterproof=waterproof] A membrane keeps feet dry in brooks and wet grass.
say [upper=leather] Wax it now and then and it will last a decade.
say A rubber rim protects the toes from stones.
say The sole can be renewed by a cobbler.

== Hiking Jackets | Sport > Hiking | outdoor | 48 | 79-329 | outdoor
title {brand} {model} {Gender} {Water} Hiking Jacket {Layer} {Colour} {size}
title {brand} {model} {Gender} {Layer} Walking Jacket {Water} with Hood {Colour} Size {size}
line gender: men's | women's
line water: waterproof *1.3 | windproof | water-repellent
line layer: 3-layer *1.2 | 2-layer | softshell
line weight: 320 g *1.1 | 450 g | 610 g *0.9
each size: S | M | L | XL
each colour: red | blue | olive | black | orange
lead For ridges and changing skies: {weight} light, hood over helmet, long zips.
lead The {model} breathes on the climb and blocks the gust at the top.
say [water=waterproof] Taped seams and 20,000 mm hold back hours of rain.
say [water=windproof] It stops wind completely and a short drizzle for a while.
say [water=water-repellent] Drops pearl off; for steady rain carry a shell.
say Two chest pockets stay reachable under a harness.
say The hem is long enough to sit on.

== Tents | Sport > Camping | camping | 40 | 89-549 | outdoor
title {brand} {model} {persons}-Person {Form} Tent {water} {weight} {Colour}
title {brand} {model} {Form} Tent for {persons} Persons, {season}, {Colour}
line form: dome | tunnel *1.2 | trekking *1.3 | pop-up *0.7
line persons: 2 *0.8 | 3 | 4 *1.2 | 6 *1.5
line water: 3000 mm | 5000 mm *1.15
line season: 3-season | 4-season *1.3
line weight: 2.1 kg *1.2 | 3.4 kg | 5.8 kg
each colour: green | orange | sand
lead A dry roof for {persons}, pitched in ten minutes with coloured poles.
lead Wake up to birds: mesh doors on both sides and a porch for boots.
say [form=pop-up] Throw it and it stands.
say [form=trekking] It packs to the size of a loaf of bread.
say [form=tunnel] The tall living room has windows and space for a table.
say [season=4-season] Snow skirts and extra guy lines face a storm in winter.
say The groundsheet is sewn in. Pegs and repair kit are included.

== Tent Footprints | Sport > Camping | own camping | 36 | 15-69 | none
fits Tents, persons
title {brand} Footprint for {fits} {persons}-Person Tent {Cloth}
title {brand} {fits} Groundsheet {Cloth} {water} {persons} Persons
line cloth: polyester | ripstop nylon *1.3
each water: 5000 mm | 10000 mm *1.1
lead Saves the floor of the {fits} from stones and thorns.
lead Peg it out first and the {fits} is clean and dry to pack in the morning.
say [cloth=ripstop nylon] A woven grid stops tears from running.
say The corners meet the poles exactly. Tent not included.
say It resists a water column of {water}.

== Tent Pegs | Sport > Camping | camping | 32 | 6-29 | none
title {brand} {Kind} Tent Pegs {length} {Material} Set of {pieces} {Colour}
title {brand} {pieces} {Material} {Kind} Pegs for Tents and Tarps {length} {Colour}
line kind: Y-shape | V-shape *0.9 | sand *1.3 | nail *0.9
line material: aluminium *1.2 | steel | titanium *2
each length: 18 cm *0.9 | 23 cm | 31 cm *1.2
each pieces: 6 *0.7 | 10 | 20 *1.7
each colour: red | silver | orange
lead Stakes of {material} that hold in the ground when the wind gets up.
lead A spare set of {pieces}, because one always stays in the meadow.
say [kind=sand] Broad blades grip on dunes and in snow.
say [kind=nail] Drive them into gravel with a hammer.
say Loops of cord make pulling out easy.
say The bag weighs almost nothing.

== Sleeping Bags | Sport > Camping | camping | 40 | 35-349 | outdoor
title {brand} {model} {Form} Sleeping Bag {Fill} {comfort} {weight}
title {brand} {model} {Fill} {Form} Sleeping Bag Comfort {comfort} {Zip} {Colour}
line form: mummy | blanket *0.8
line fill: down *1.8 | synthetic
line comfort: -5 C *1.3 | 0 C *1.15 | 7 C | 14 C *0.7
line weight: 0.7 kg *1.2 | 1.1 kg | 1.8 kg *0.8
each zip: left zip | right zip
each colour: blue | green | rust
lead Sleep warm outdoors down to {comfort} without a heavy pack.
lead A soft cocoon with a draught collar and a pocket for the phone.
say [fill=down] Goose feathers from controlled farms press into a tiny sack.
say [fill=synthetic] The filling warms even when damp and dries fast.
say [form=blanket] Opened flat it becomes a quilt for two.
say Left and right models can be zipped together.

== Sleeping Mats | Sport > Camping | camping fitness | 32 | 19-169 | outdoor
title {brand} {model} {Kind} Sleeping Mat {thick} {rvalue} {Colour}
title {brand} {model} {Kind} Camping Mattress {thick} Thick {weight} {Colour}
line kind: self-inflating | air *1.2 | closed-cell foam *0.4
line thick: 2 cm *0.7 | 5 cm | 9 cm *1.2
line rvalue: R 2.1 *0.9 | R 3.5 | R 5.4 *1.3
line weight: 390 g *1.2 | 680 g | 1200 g
each colour: green | grey | orange
lead Stones and cold ground are forgotten on {thick} of padding.
lead Lies flat, rolls small and weighs {weight}.
say [kind=self-inflating] Open the valve and it fills itself while you cook.
say [kind=air] The pump sack saves breath.
say [kind=closed-cell foam] Nothing to puncture, ever.
say The surface does not slip or rustle.

== Headlamps | Sport > Camping | camping bikes | 32 | 15-99 | code
title {brand} {model} Head Torch {lumen} {Power} {Water} {Colour}
title {brand} {model} LED Headlamp {lumen} {range} Beam {Power}
line lumen: 200 lm *0.6 | 450 lm | 1000 lm *1.6
line power: USB-C rechargeable *1.2 | 3 x AAA
line water: IPX4 | IPX7 *1.1
line range: 60 m *0.9 | 110 m | 180 m *1.2
each colour: black | orange
lead Both hands stay free while {lumen} light the path.
lead For night runs, tents and fuse boxes: a beam that reaches {range}.
say Red light reads maps without blinding friends.
say [power=3 x AAA] Batteries are found in any village shop.
say [power=USB-C rechargeable] The cell refills from a power bank in two hours.
say The band is washable.
"""
