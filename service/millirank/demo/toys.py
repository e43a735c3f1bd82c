"""Toys and games."""

TABLE = """
== Building Blocks | Toys > Construction | toys | 40 | 15-119 | play
title {brand} {model} Building Blocks {Theme} Set {pieces} Pieces Age {age}
title {brand} {model} {Theme} Construction Set with {pieces} Bricks, Ages {age}
line theme: castle | farm | space station *1.2 | fire brigade | pirate ship *1.1
line material: wood *1.2 | plastic
each pieces: 120 *0.6 | 280 | 540 *1.6 | 980 *2.4
each age: 3+ | 5+ | 7+
lead Build a {theme}, knock it down, build it better.
lead {Pieces} parts for rainy afternoons on the floor.
say [material=wood] Beech with water based paint, smooth on small hands.
say [material=plastic] Bricks click firmly and come apart without teeth.
say Figures and a picture guide are in the box.
say It goes with other common bricks.

== Jigsaw Puzzles | Toys > Games | tabletop | 40 | 8-39 | none
title {brand} Jigsaw Puzzle {pieces} Pieces {Motif} {size}
title {brand} {Motif} Puzzle {pieces} Pieces Age {age} {Finish}
line motif: mountain lake | old harbour | hot air balloons | world map | cats in a library | flower market
line finish: linen structure *1.1 | matt
line size: 50 x 36 cm *0.8 | 70 x 50 cm
line age: 6+ | 10+ | 14+
each pieces: 100 *0.6 | 500 *0.8 | 1000 | 2000 *1.7
lead {Pieces} parts and one evening after another: {motif} in strong colours.
lead Find the edge first, then lose yourself in {motif}.
say [finish=linen structure] The surface does not reflect the lamp.
say Thick board clicks and can be lifted when joined.
say A poster of the picture helps.
say No two shapes are alike.

== Board Games | Toys > Games | tabletop | 44 | 12-69 | play
title {brand} {model} and the {Story} {Kind} Board Game {players} Players Age {age}
title {brand} {Story} of {model} - {Kind} Game for {players} Players, {minutes}
line story: lost island | haunted harbour | dragon market | silver railway | night garden | sunken city
line kind: family | strategy *1.3 | cooperative *1.1 | party *0.8
line players: 2-4 | 2-6 | 3-8
line minutes: 20 min *0.8 | 45 min | 90 min *1.3
line age: 6+ | 8+ | 10+ | 12+
each language: English | German | French
lead Gather {players} people and set off; a round takes {minutes}.
lead Rules in five minutes, and a different story each time.
say [kind=cooperative] Everybody wins together or nobody does.
say [kind=strategy] Plan three moves ahead, because luck is rare here.
say [kind=party] Loud, quick and silly in the best way.
say Wooden pieces and a thick board make it a present to keep.

== Dolls | Toys > Dolls | toys | 36 | 15-79 | play
title {brand} {model} {Kind} Doll {size} with {Extra} {hair} Hair
title {brand} {model} {size} {Kind} Doll, {hair} Hair, {Extra}
line kind: soft | baby | fashion
line size: 28 cm *0.8 | 36 cm | 46 cm *1.2
line extra: dress | sleeping bag *1.1 | pram *1.6
each hair: brown | blonde | black | red
lead {model} listens, sleeps and comes along everywhere.
lead A first friend of {size} with embroidered eyes and {hair} hair.
say [kind=baby] It drinks water and closes its eyes when laid down.
say [kind=soft] The body is cotton and goes in the wash.
say Clothes close with simple tapes for little fingers.

== Soft Toys | Toys > Soft Toys | toys | 40 | 9-55 | play
title {brand} {model} {Animal} Soft Toy {size} {Colour}
title {brand} {model} the {Animal} Plush {size} Washable {Colour}
line animal: bear | rabbit | elephant | fox | dinosaur | penguin
line fill: recycled wadding | wool *1.3
each size: 20 cm *0.6 | 35 cm | 60 cm *1.7
each colour: brown | grey | white | blue
lead A cuddly {animal} with long arms for falling asleep.
lead Stuffed and stitched by hand, {model} is {size} tall and a good listener.
say [fill=wool] Sheep's wool fills it and keeps it warm.
say [fill=recycled wadding] The filling comes from old bottles.
say Safe from birth: no buttons, no hard eyes.
say Washable at 30 degrees in a pillowcase.

== RC Cars | Toys > Vehicles | vehicles | 36 | 25-189 | code
title {brand} {model} RC Car {scale} {Form} {speed} {Drive} {Colour}
title {brand} {model} Remote Control {Form} {scale} {speed} with {Drive} {Colour}
line form: buggy | monster truck *1.1 | drift car | race car
line scale: 1:24 *0.6 | 1:18 | 1:10 *1.5
line speed: 20 km/h *0.8 | 35 km/h | 50 km/h *1.3
line drive: four-wheel drive *1.15 | rear-wheel drive
each colour: red | blue | orange
lead Full throttle across lawn and gravel at up to {speed}.
lead A {form} on the scale of {scale}, ready to race from the box.
say [form=monster truck] Huge tyres climb kerbs and stones.
say [form=drift car] Smooth rear tyres slide through every bend.
say The remote reaches eighty metres.
say One charge gives twenty-five minutes; spare packs are available.

== RC Batteries | Toys > Vehicles | own power | 36 | 12-45 | none
fits RC Cars
title {brand} RC Car Battery {volt} {capacity} for {fits}
title {brand} {fits} Spare Battery Pack {volt} {capacity} {Origin}
line volt: 7.4 V | 11.1 V *1.3
each capacity: 1500 mAh *0.8 | 2200 mAh | 3000 mAh *1.25
lead Twice the fun: a second pack of {capacity} for the {fits}.
lead Swap it trackside and the {fits} is off again.
say [origin=original] The same cell the car came with.
say [origin=compatible] The plug is the same and the cells last a little longer.
say Charge under supervision. Car not included.

== Wooden Trains | Toys > Vehicles | vehicles | 32 | 15-119 | play
title {brand} {model} Wooden Train Set {pieces} Pieces {Theme} Age {age}
title {brand} {model} {Theme} Wooden Railway with {pieces} Parts, Ages {age}
line theme: mountain railway | freight yard | harbour | circus
line extra: bridge | tunnel | crane *1.15
each pieces: 18 *0.6 | 40 | 80 *1.7
each age: 2+ | 3+
lead All aboard: beech tracks, magnetic wagons and a {extra}.
lead {Pieces} pieces join into loops, sidings and whole lands.
say Rails match other wooden brands.
say [extra=crane] The crane lifts its load with a magnet.
say [extra=bridge] The bridge carries a second line.
say Paint is safe for mouths.

== Craft Kits | Toys > Creative | tabletop toys | 36 | 9-45 | none
title {brand} {Craft} Craft Kit for {Who} {pieces} Pieces
title {brand} Creative {Craft} Set {Level} {pieces} Pieces Age {age}
line craft: painting by numbers | friendship bracelets | candle making *1.2 | origami *0.7 | pottery *1.3
line who: kids | adults | beginners
line level: easy | advanced *1.1
line age: 6+ | 8+ | 12+
each pieces: 30 *0.8 | 60 | 120 *1.4
lead Hands busy, screens off: {craft} step by step.
lead Everything for {craft} is in the box, down to the last thread.
say [level=easy] First results show within half an hour.
say [level=advanced] It rewards patience with a piece worth keeping.
say Pictures explain each step without words.
say A good present for a birthday party.

== Play Kitchens | Toys > Pretend Play | toys furniture | 32 | 49-199 | home
title {brand} {model} Wooden Play Kitchen {size} with {Extra} {Colour}
title {brand} {model} Toy Kitchen for Kids {size} {Extra} Age 3+ {Colour}
line size: 60 x 90 cm *0.8 | 80 x 100 cm
line extra: light and sound *1.2 | pots and pans *1.1 | oven door
each colour: white | mint green | natural
lead Soup of buttons, cake of sand: little cooks get a stove of their own.
lead Knobs click, the tap turns and the worktop is at the right height.
say [extra=light and sound] The hob glows and bubbles when a pot is put on it.
say [extra=pots and pans] Five pieces of cookware hang on hooks.
say Rounded corners and paint without solvents.
say Assembly takes an hour.
"""
