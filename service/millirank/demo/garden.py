"""Garden and workshop."""

TABLE = """
== Lawn Mowers | Garden > Lawn | garden | 36 | 99-549 | code
title {brand} {model} {Drive} Lawn Mower {width} {box} {Colour}
title {brand} {model} {Drive} Lawnmower {width} Cutting Width {area}
line drive: cordless *1.2 | electric *0.7 | petrol *1.3 | robotic *1.8
line width: 32 cm *0.8 | 37 cm | 46 cm *1.3
line box: 30 l box | 45 l box | 60 l box *1.1
line area: 250 m2 *0.9 | 500 m2 | 900 m2 *1.15
each colour: green | orange
lead Even stripes without sweat: {width} wide and set to six heights.
lead For grass of up to {area}, light enough to turn with one hand.
say [drive=cordless] Two batteries give forty minutes of quiet cutting.
say [drive=robotic] It mows while you are away and hides from rain.
say [drive=petrol] The four-stroke engine starts at the first pull.
say Clippings land in the box or stay as mulch.
say The handle folds for the shed.

== Mower Blades | Garden > Lawn | own garden | 36 | 12-39 | none
fits Lawn Mowers, width
title {brand} Replacement Blade for {fits} Lawn Mower {width} {Kind}
title {brand} {fits} Mower Blade {width} {Kind} {Origin} {bolt}
line kind: mulching *1.2 | standard
each bolt: with bolt *1.1 | without bolt
lead A sharp edge for the {fits}: cleaner cuts, greener lawn.
lead Change the knife every spring; this one matches the {width} deck of the {fits}.
say [kind=mulching] Bent wings chop the grass fine enough to leave it.
say [origin=compatible] Compatible steel, balanced before it is packed.
say Wear gloves. The mower is not included.

== Hedge Trimmers | Garden > Hedges | garden tools | 32 | 49-249 | code
title {brand} {model} {Drive} Hedge Trimmer {blade} {gap} {Colour}
title {brand} {model} {Drive} Hedge Cutter {blade} Blade {weight}
line drive: cordless 18 V *1.2 | electric 600 W *0.8 | telescopic *1.4
line blade: 45 cm *0.9 | 55 cm | 65 cm *1.1
line gap: 18 mm | 24 mm *1.1
line weight: 2.6 kg *1.1 | 3.4 kg
each colour: green | red
lead Privet and beech get straight sides with {blade} of laser-cut teeth.
lead Only {weight} in the hands, so the top row is no torture.
say [drive=telescopic] The pole reaches three metres from the ground.
say [drive=cordless 18 V] No lead to cut through by mistake.
say Twigs of up to {gap} are no obstacle.
say A guard protects flowers and fingers.

== Garden Hoses | Garden > Watering | garden | 36 | 15-99 | none
title {brand} {Form} Garden Hose {length} {diameter} {Set} {Colour}
title {brand} {length} {Form} Water Hose {diameter} {layers} {Set}
line form: textile | rubber *1.3 | PVC *0.7 | on reel *1.6
line diameter: 1/2 inch | 3/4 inch *1.2
line layers: 3 layers *0.9 | 5 layers
line set: with spray gun *1.2 | -
each length: 10 m *0.7 | 20 m | 30 m *1.3 | 50 m *1.8
each colour: green | grey
lead Reaches the last bed: {length} that neither kink nor twist.
lead Watering without wrestling, thanks to {layers} and a soft wall.
say [form=textile] The woven sleeve grows when water flows and shrinks afterwards.
say [form=on reel] Wind it up with a crank and roll it away.
say [set=with spray gun] The nozzle changes between mist, shower and jet.
say Sun and frost do not make it brittle.

== Hose Connectors | Garden > Watering | garden | 32 | 4-25 | none
title {brand} Hose Connector {diameter} {Kind} {Material} {pack}
title {brand} {Material} {Kind} Fitting for Garden Hoses {diameter} {pack} {Colour}
line kind: quick coupling | tap adapter | repair joiner *0.9 | Y-splitter *1.6
line material: brass *2 | plastic
each diameter: 1/2 inch | 3/4 inch *1.1
each pack: single *0.8 | set of 4 *1.8
each colour: grey | orange
lead Click and water: joins {diameter} hoses without a drip.
lead A small part that saves a whole afternoon in July.
say [kind=repair joiner] Cut out the hole and put both ends together.
say [kind=Y-splitter] One tap, two lines, each with its own valve.
say [material=brass] Metal survives being stepped on.
say Common click systems fit.

== Plant Pots | Garden > Plants | garden decor | 40 | 9-79 | home
title {brand} {model} Plant Pot {Material} {size} {Place} {Colour}
title {brand} {model} {Material} Flower Pot {size} with {Drain} {Colour}
line material: terracotta | ceramic *1.2 | fibre concrete *1.5 | recycled plastic *0.7
line place: indoor | outdoor
line drain: drainage hole | saucer *1.1
each size: 14 cm *0.5 | 20 cm *0.7 | 30 cm | 45 cm *1.8
each colour: white | black | terracotta | sage green
lead A home for monstera or basil, {size} across and heavy enough to stand.
lead Matt {colour} lets the leaves shine.
say [drain=saucer] The dish catches what runs through.
say [drain=drainage hole] Roots never stand in water.
say [place=outdoor] Frost down to minus fifteen does no harm.
say [material=recycled plastic] Made of old crates, and easy to move.

== Garden Chairs | Garden > Furniture | garden furniture | 40 | 29-199 | home
title {brand} {model} {Form} Garden Chair {Material} {Set} {Colour}
title {brand} {model} Outdoor {Form} Chair {Material} Weatherproof {Colour}
line form: folding *0.7 | stacking | lounge *1.6 | rocking *1.4
line material: teak *1.4 | aluminium | rattan look | acacia
line set: set of 2 *1.8 | single
each colour: grey | natural | white | green
lead Breakfast moves outside: {material} that may stay on the terrace all summer.
lead Lean back, feet up, lemonade to the left.
say [form=folding] It folds flat and hangs on the balcony wall.
say [form=stacking] Six of them take the space of one.
say [material=teak] Oil it in spring or let it turn silver.
say Cushions are sold separately.

== Parasols | Garden > Furniture | garden | 32 | 29-249 | home
title {brand} {model} {Form} Parasol {size} {Uv} {Crank} {Colour}
title {brand} {model} {Form} Garden Umbrella {size} {Colour} {Uv}
line form: cantilever *1.7 | centre pole | balcony *0.7
line size: 2 m *0.7 | 2.7 m | 3.5 m *1.3
line uv: UPF 50+ | UPF 30 *0.9
line crank: with crank *1.1 | with push-up
each colour: sand | grey | green | terracotta
lead Shade for the whole table, {size} across.
lead Keeps the sun off coffee and cake, and folds away before the storm.
say [form=cantilever] The arm stands aside, so no pole is in the way.
say [form=balcony] Half a circle sits flat against the wall.
say [uv=UPF 50+] The cloth stops more than 98 per cent of harmful rays.
say The base is sold separately.

== Barbecues | Garden > Barbecue | grills | 36 | 59-749 | code
title {brand} {model} {Fuel} Barbecue {burners} {area} {Lid} Black
title {brand} {model} {Fuel} Grill with {Lid} {area} Cooking Area
line fuel: gas *1.4 | charcoal *0.6 | electric *0.7 | pellet *1.8
line lid: lid | side shelf *1.05
line area: 44 x 32 cm *0.8 | 60 x 42 cm | 76 x 48 cm *1.3
each burners: 2 zones *0.9 | 3 zones
lead Sausages, peppers and a whole chicken fit on {area} at once.
lead Light it, call the neighbours, turn the steak once.
say [fuel=gas] Heat is there in ten minutes and off at a twist.
say [fuel=charcoal] The smoke does what no kitchen can.
say [fuel=electric] Right for balconies where flames are forbidden.
say [fuel=pellet] A screw feeds wood by itself and holds 110 degrees overnight.
say The fat tray pulls out to the front.

== Barbecue Covers | Garden > Barbecue | own grills | 32 | 15-59 | none
fits Barbecues, area
title {brand} Barbecue Cover for {fits} Waterproof {Cloth} {Colour}
title {brand} {fits} Grill Cover {Cloth} {Origin} {Colour}
line cloth: 600D polyester *1.1 | 420D polyester
each colour: black | grey
each vents: with air vents *1.05 | without vents
lead Winter coat for the {fits}, tight at the bottom with straps.
lead Rain, leaves and pollen stay off the {fits}.
say [vents=with air vents] Air flows under the hood, so nothing rusts.
say [origin=original] Tailored by the maker of the grill.
say Let the grill cool first. Grill not included.

== Cordless Drills | Garden > Power Tools | tools | 40 | 49-249 | code
title {brand} {model} Cordless Drill {volt} {torque} {Hammer} {Kit}
title {brand} {model} {volt} Drill Driver {torque} with {Kit}
line volt: 12 V *0.7 | 18 V | 18 V
line torque: 35 Nm *0.8 | 55 Nm | 90 Nm *1.3
line hammer: hammer function *1.15 | -
each kit: two batteries *1.3 | one battery | no battery *0.7
lead Drives screws, drills oak and lights the corner you are working in.
lead Furniture, shelves, shed: {torque} are enough for all of them.
say [hammer=hammer function] It also gets through brick.
say [kit=no battery] For those who already own the packs of the series.
say [kit=two batteries] One works while the other charges.
say The keyless chuck holds bits of up to 13 mm.

== Drill Batteries | Garden > Power Tools | own power | 36 | 25-109 | none
fits Cordless Drills, volt
title {brand} {volt} Battery {capacity} for {fits} Cordless Drill
title {brand} {fits} Replacement Battery {volt} {capacity} {Origin}
line cells: lithium-ion
each capacity: 2.0 Ah *0.8 | 4.0 Ah | 5.0 Ah *1.2 | 8.0 Ah *1.7
lead A second pack of {capacity} keeps the {fits} turning.
lead Slide it in until it clicks: {volt} of fresh power for the {fits}.
say [origin=original] Original pack with the maker's temperature control.
say [origin=compatible] Fits like the first one and costs less.
say [capacity=8.0 Ah] Made for long days, and a little heavier.
say Three lights show the charge. Tool not included.

== Drill Bits | Garden > Power Tools | tools | 32 | 7-59 | none
title {brand} {Use} Drill Bit Set {pieces} {Material} {range}
title {brand} {pieces} {Material} Drill Bits for {use} {range} {Box}
line use: wood *0.9 | metal | masonry | tiles *1.2
line material: high-speed steel | cobalt *1.5 | carbide *1.3
line box: steel box | plastic box *0.9
each pieces: 5-piece *0.6 | 10-piece | 19-piece *1.6
each range: 1-10 mm | 3-10 mm | 4-12 mm
lead Clean holes in {use} from a set that tells you each size at a glance.
lead {Pieces} assortment of {material}, ground sharp and sorted.
say [use=wood] The centre point does not wander.
say [use=tiles] Go slowly, keep it wet, and the glaze stays whole.
say [material=cobalt] Stays hard when it glows.
say They fit any common chuck.
"""
