"""Kitchen machines, pots and things for the table."""

TABLE = """
== Coffee Machines | Kitchen > Coffee & Tea | appliances | 44 | 79-599 | code
title {brand} {model} {Form} Coffee Machine {pressure} {Milk} {Colour}
title {brand} {model} {Form} Coffee Maker with {tank} Tank, {Milk}, {Colour}
line form: bean to cup *1.5 | espresso | filter *0.4 | capsule *0.5
line pressure: 15 bar | 19 bar *1.1
line milk: milk frother *1.15 | -
line tank: 1.2 l | 1.8 l *1.05
each colour: black | stainless steel *1.1 | cream
lead Mornings start with one button and the smell of fresh coffee.
lead Cafe quality at home, from a machine no wider than a cereal box.
say [form=bean to cup] It grinds for every cup and rinses itself.
say [form=espresso] A heavy portafilter and a gauge teach you to pull a proper shot.
say [form=filter] It brews ten cups and keeps the jug warm.
say [form=capsule] Drop in a pod, wait twenty seconds, drink.
say [milk=milk frother] Hot foam for cappuccino comes out of the same spout.
say The tank of {tank} lifts out from the front.
say The drip tray goes in the dishwasher.

== Coffee Machine Descalers | Kitchen > Coffee & Tea | own appliances | 32 | 7-24 | none
fits Coffee Machines
title {brand} Descaler for {fits} Coffee Machine {volume} {Form}
title {brand} {fits} Limescale Remover {Form} {volume} {doses} Doses
line form: liquid | tablets *1.1
each volume: 250 ml | 500 ml *1.4 | 750 ml *1.8
each doses: 2 | 4 | 6
lead Hard water leaves chalk in the {fits}; this dissolves it without harsh smell.
lead Two rounds a year keep the {fits} hot and quick.
say [form=tablets] Drop one in the tank and start the cleaning cycle.
say [form=liquid] Pour, add water, press start.
say Based on plant acid and safe for seals. Enough for {doses} treatments.

== Coffee Grinders | Kitchen > Coffee & Tea | appliances | 32 | 25-199 | code
title {brand} {model} {Drive} Coffee Grinder {Burr} Burr {settings} Settings {Colour}
title {brand} {model} {Drive} Bean Mill with {Burr} Grinder, {capacity}, {Colour}
line drive: electric *1.3 | manual *0.6
line burr: steel conical | ceramic *0.9 | flat steel *1.3
line settings: 12 *0.8 | 18 | 40 *1.3
line capacity: 35 g *0.9 | 120 g | 250 g
each colour: black | silver
lead Whole beans become even grounds, from powder for espresso to grit for the press.
lead Freshly milled tastes rounder: {settings} steps let you find your own cup.
say [drive=manual] Turn the crank for forty seconds and enjoy the silence.
say [drive=electric] A timer stops it when the dose is reached.
say The hopper holds {capacity}.
say [burr=ceramic] Stone-hard discs stay cool and never rust.

== Kettles | Kitchen > Coffee & Tea | appliances | 36 | 22-119 | code
title {brand} {model} Electric Kettle {volume} {Body} {Temp} {Colour}
title {brand} {model} {Body} Water Boiler {volume} {power} {Temp}
line body: stainless steel *1.1 | glass | plastic *0.6
line temp: temperature control *1.4 | -
line power: 2200 W | 3000 W *1.1
each volume: 1 l *0.9 | 1.5 l | 1.7 l
each colour: black | white | copper *1.1
lead Tea for four in three minutes: {volume} of water and {power} below it.
lead A {body} jug that boils, clicks off and does not drip.
say [temp=temperature control] Choose 70, 80 or 95 degrees for green tea or pour-over coffee.
say [body=glass] Blue light shows the bubbles dancing.
say [body=stainless steel] No plastic touches the hot water.
say It turns freely on its base, for left and right hands.

== Toasters | Kitchen > Breakfast | appliances | 36 | 22-129 | code
title {brand} {model} {slots}-Slice Toaster {Body} {power} {Colour}
title {brand} {model} Toaster {slots} Slots {Body} with Bun Warmer {Colour}
line slots: 2 *0.8 | 4 *1.2
line body: stainless steel *1.1 | plastic *0.7 | enamelled
line power: 850 W | 1500 W *1.1
each colour: red | cream | black | silver
lead Golden on both sides, whether the bread is thin or cut by hand.
lead Breakfast for {slots} hungry people at a time, with seven shades to choose from.
say A defrost key takes slices straight from the freezer.
say The crumb tray slides out at the back.
say Rolls warm up on the rack above the slots.

== Blenders | Kitchen > Food Preparation | appliances | 36 | 29-249 | code
title {brand} {model} {Form} Blender {power} {volume} {Jug} {Colour}
title {brand} {model} {Form} Smoothie Maker {power} with {jug} Jug, {Colour}
line form: stand | personal *0.6 | hand *0.5
line power: 600 W *0.8 | 1000 W | 1600 W *1.4
line volume: 0.6 l *0.9 | 1.2 l | 2 l *1.1
line jug: glass *1.1 | BPA-free
each colour: white | black | red
lead Frozen fruit, soup and pesto: {power} leave no lumps.
lead Healthy drinks before work, mixed and rinsed in two minutes.
say [form=personal] You drink from the cup that you blend in.
say [form=hand] Hold it in the pot and puree right there.
say [form=stand] The pulse key crushes ice for long drinks.
say Blades unscrew for cleaning.

== Air Fryers | Kitchen > Food Preparation | appliances | 40 | 59-259 | code
title {brand} {model} Air Fryer {volume} {power} {Zones} {Colour}
title {brand} {model} {volume} Hot Air Fryer with {programs} Programs {Zones} {Colour}
line volume: 3.5 l *0.7 | 5.5 l | 7.6 l *1.2 | 9 l *1.4
line power: 1400 W | 1700 W | 2400 W *1.1
line zones: dual zone *1.3 | single basket
line programs: 6 | 8 | 12 *1.05
each colour: black | white | grey
lead Crisp chips and juicy chicken with a spoonful of oil.
lead Faster than the oven and easier to clean: {volume} feed the whole family.
say [zones=dual zone] Two drawers cook fish and vegetables so that they are done together.
say [zones=single basket] Shake the basket once half way through.
say A window shows how brown it gets.
say Baskets are dishwasher safe.

== Air Fryer Liners | Kitchen > Food Preparation | cookware | 36 | 7-25 | none
fits Air Fryers, volume
title {brand} {Material} Liners for {fits} Air Fryer {volume} {pack}
title {brand} Air Fryer {Material} Baking Liners {volume} {pack}, Fits {fits}
line material: parchment paper | silicone *1.5
each pack: 2 pieces | 4 pieces *1.4
lead Lay one in the basket of the {fits} and skip the scrubbing.
lead Shaped for drawers of {volume}, with holes that let hot air through.
say [material=silicone] They last for years and go in the dishwasher.
say [material=parchment paper] Unbleached and coated against sticking; throw them away after use.
say The fryer is not included.

== Stand Mixers | Kitchen > Food Preparation | appliances | 32 | 129-499 | code
title {brand} {model} Stand Mixer {bowl} Bowl {power} {speeds} Speeds {Colour}
title {brand} {model} Kitchen Machine {power} with {bowl} Steel Bowl and Dough Hook, {Colour}
line bowl: 4.3 l *0.9 | 5.2 l | 6.7 l *1.2
line power: 800 W *0.9 | 1000 W | 1400 W *1.2
line speeds: 6 | 10 *1.05
each colour: red | cream | black | mint green
lead Bread dough, egg whites and icing: the planetary arm reaches every corner.
lead Bakers lean on it daily, for its metal gears and a bowl of {bowl}.
say Whisk, hook and beater come along.
say The head tilts up and locks.
say A slow start keeps flour in the bowl.

== Frying Pans | Kitchen > Cookware | cookware | 44 | 17-119 | home
title {brand} {model} {Material} Frying Pan {size} {Coat} {Hob}
title {brand} {model} {size} {Material} Skillet with {Handle} Handle {Coat}
line material: cast iron *1.1 | aluminium *0.7 | stainless steel *1.2 | carbon steel
line coat: non-stick | uncoated
line hob: induction *1.1 | gas and electric
line handle: wooden | steel | removable *1.2
each size: 20 cm *0.8 | 24 cm *0.9 | 28 cm | 32 cm *1.2
lead Steaks get their crust and pancakes slide out of this {size} pan.
lead {Material} spreads the heat, and the {handle} handle sits well in the hand.
say [coat=non-stick] Eggs need no fat thanks to a ceramic coating free of PFAS.
say [coat=uncoated] Season it once with oil and it will outlive you.
say [hob=induction] It works on every stove, induction included.
say [handle=removable] Take the grip off and put it in the oven.

== Saucepans | Kitchen > Cookware | cookware | 36 | 19-109 | home
title {brand} {model} {Material} Saucepan {size} {volume} with Lid
title {brand} {model} {Pieces} {Material} Pot {size} {volume} {Hob}
line material: stainless steel | enamelled steel *0.9 | copper *1.8
line pieces: single | 3-piece set *2.2
line hob: induction *1.1 | gas and electric
each size: 16 cm *0.85 | 18 cm | 20 cm *1.1
each volume: 1.5 l | 2.2 l | 3 l *1.1
lead Milk, rice or sauce for two: {volume} with a pouring edge on both sides.
lead A thick base keeps porridge from burning when the phone rings.
say [pieces=3-piece set] The three pots nest inside one another.
say [material=copper] Cooks prize the metal because it answers to the flame at once.
say The glass lid shows what is going on.
say Marks inside replace the measuring jug.

== Kitchen Knives | Kitchen > Cookware | cookware | 36 | 15-139 | home
title {brand} {model} {Kind} Knife {blade} {Steel} {Handle} Handle
title {brand} {model} {blade} {Kind} Kitchen Knife, {Steel}, {Handle}
line kind: chef's *1.2 | bread | paring *0.6 | santoku *1.2
line steel: stainless steel | damascus steel *1.8 | carbon steel *1.1
line handle: walnut | pakka wood *1.1 | plastic *0.7
each blade: 9 cm *0.7 | 15 cm | 20 cm *1.1 | 24 cm *1.2
lead Sharp from the box and easy to keep so, with {blade} of {steel}.
lead Balanced at the bolster, this {kind} blade does half the work itself.
say [kind=bread] The waves bite through crusts without crushing the crumb.
say [kind=paring] Peel, core and trim in the hand.
say [steel=damascus steel] Sixty-seven folded layers draw a pattern like water.
say Wash by hand and dry at once.

== Travel Mugs | Kitchen > Drinkware | drinks | 44 | 12-45 | outdoor
title {brand} {model} Travel Mug {volume} {Body} Insulated {Colour}
title {brand} {model} Insulated {Body} Tumbler {volume} {Lid} {Colour}
line body: stainless steel | ceramic coated *1.2
line lid: leakproof *1.15 | sip lid
line hours: 4 h *0.9 | 6 h | 8 h *1.1
each volume: 350 ml *0.9 | 450 ml | 600 ml *1.1
each colour: black | sage green | red | sand
lead Your drink stays hot for {hours}, from the front door to the second meeting.
lead Double walls keep tea warm and fingers cool on the way to work.
say [lid=leakproof] Throw it in a rucksack: the lock holds tight.
say [lid=sip lid] Slide the cover and drink from any side.
say It fits under most espresso spouts and in every cup holder.
say [body=ceramic coated] The inside takes on no taste of coffee.

== Vacuum Flasks | Kitchen > Drinkware | drinks camping | 40 | 15-59 | outdoor
title {brand} {model} Vacuum Flask {volume} {Cap} Stainless Steel {Colour}
title {brand} {model} Insulated Thermal Bottle {volume} with {Cap} {Colour}
line cap: cup lid | push button *1.1
line hours: 12 h *0.9 | 18 h | 24 h *1.15
each volume: 0.5 l *0.85 | 0.75 l | 1 l *1.15
each colour: steel | olive | blue | red
lead Soup on the summit: hot for {hours}, cold for twice as long.
lead A dependable companion of {volume} for building sites and ski slopes.
say [cap=push button] Press to pour without opening it.
say [cap=cup lid] The top is your mug.
say The wide neck lets a brush in.
say Dents happen, leaks do not.

== Food Containers | Kitchen > Storage | drinks cookware | 36 | 9-59 | home
title {brand} {model} Food Storage Containers {Material} Set of {pieces} {Lid}
title {brand} {model} {Material} Lunch Boxes {pieces} Pieces with {Lid} {volume}
line material: glass *1.4 | BPA-free plastic *0.8 | stainless steel *1.5
line lid: clip lids | bamboo lids *1.1
each pieces: 3 *0.8 | 5 | 10 *1.6
each volume: 400 ml *0.9 | 800 ml | 1200 ml *1.1
lead Leftovers, lunch and flour stay fresh in {pieces} boxes that stack.
lead Cook on Sunday, eat until Thursday: airtight tubs of {volume}.
say [material=glass] Safe in oven, freezer and microwave without the cover.
say [material=BPA-free plastic] Light for the school bag.
say [lid=clip lids] Four clips and a seal keep sauce inside.
"""
