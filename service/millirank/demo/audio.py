"""Sound, television and photography."""

TABLE = """
== Wireless Headphones | Electronics > Audio | audio | 60 | 39-329 | code
title {brand} {model} Wireless {wear} Headphones Bluetooth {Noise} {Colour}
title {brand} {model} Bluetooth {wear} Headphones with Microphone {battery} {Colour}
title {brand} {model} Wireless Headphones, {wear}, {Noise}, {Colour}
line wear: Over-Ear | Over-Ear | On-Ear *0.8
line noise: active noise cancelling *1.35 | passive isolation
line battery: 20 h *0.9 | 30 h | 40 h *1.05 | 60 h *1.1
each colour: black | white | sand | navy | red
lead Cordless listening for up to {battery} per charge, with soft cushions that never pinch.
lead {brand} tuned the {model} for warm voices and firm bass without any wire.
lead A Bluetooth headset for trains, offices and late evenings on the couch.
say [noise=active noise cancelling] Four microphones silence engines and chatter; one tap lets voices in again.
say [noise=passive isolation] Thick closed pads keep the street out without electronics.
say [wear=On-Ear] Light on the ear and easy to fold away.
say Two devices stay paired, so a call on the phone interrupts the film on the tablet.
say Ten minutes of charging give three hours of music.
say Ear pads can be replaced when they wear out.

== Wired Headphones | Electronics > Audio | audio | 36 | 15-189 | code
title {brand} {model} Wired {wear} Headphones {plug} {cable} Cable {Colour}
title {brand} {model} {wear} Studio Headphones with {cable} Cable, {impedance}, {Colour}
line wear: Over-Ear | On-Ear *0.7 | Open-Back *1.3
line plug: 3.5 mm jack | 6.3 mm adapter
line cable: 1.2 m | 1.8 m | 3 m
line impedance: 32 ohm | 64 ohm | 250 ohm *1.3
each colour: black | white | grey
lead No battery, no delay: plug in the {cable} lead and hear every detail.
lead Monitoring cans for home recording, at {impedance} easy to judge and hard to fool.
say [wear=Open-Back] The open housing sounds wide and airy, but the neighbour hears it too.
say [wear=Over-Ear] The cushions enclose the ear and block a noisy room.
say The cord detaches at the left cup and can be renewed.
say A spring steel band keeps its shape after years in a rucksack.

== Ear Pads | Electronics > Audio Accessories | own cases | 36 | 9-39 | none
fits Wireless Headphones
title {brand} Replacement Ear Pads for {fits} Headphones {Material} {Colour} 1 Pair
title {brand} {fits} Ear Cushions {Material} {Colour}, Pair
line material: protein leather | velour *1.1 | memory foam *1.3
each colour: black | grey | brown
lead Worn cushions? This pair brings the {fits} back to its first comfort.
lead New padding for the {fits}, covered in {material}, changed in two minutes.
say [material=velour] The soft fabric stays cool on warm days.
say The mounting rings click into the original grooves without glue.
say Fresh seals also bring back bass that flattened foam lets escape.
say Headphones are not included.

== Earbuds | Electronics > Audio | audio phones | 52 | 25-219 | code
title {brand} {model} True Wireless Earbuds {noise} {water} {Colour}
title {brand} {model} In-Ear Bluetooth Earphones with Charging Case {battery} {Colour}
line noise: ANC *1.3 | -
line battery: 18 h *0.9 | 24 h | 32 h *1.1
line water: IPX4 | IPX5 | IPX7 *1.1
each colour: black | white | mint green | coral
lead Tiny earphones with a case that stretches playing time to {battery}.
lead In-ear plugs for running and commuting that stay put without a wing.
say [noise=ANC] Active noise cancelling turns a bus into a quiet room.
say [water=IPX7] They survive a heavy shower and even a dive into the sink.
say [water=IPX4] Sweat and drizzle do no harm.
say Three sizes of silicone tips are in the box.
say Touch either side to skip, pause or answer.

== Bluetooth Speakers | Electronics > Audio | audio | 44 | 25-269 | code
title {brand} {model} Portable Bluetooth Speaker {power} {Water} {Colour}
title {brand} {model} Wireless Speaker {power} with {battery} Battery {Colour}
line power: 10 W *0.7 | 20 W | 40 W *1.5 | 80 W *2.2
line battery: 10 h | 15 h | 24 h *1.1
line water: waterproof IP67 *1.1 | splashproof | -
each colour: black | red | teal | grey
lead Music for the kitchen, the park and the bath, {power} strong.
lead A round box with a handle that fills a garden party and plays for {battery}.
say [water=waterproof IP67] Drop it in the pool: it floats, and sand rinses off.
say [water=splashproof] A few splashes at the sink do not matter.
say Pair two of them for stereo.
say The passive radiator adds bass you would not expect at this size.
say A microphone makes it a loudspeaker for calls.

== Soundbars | Electronics > TV & Cinema | audio tv | 36 | 89-549 | code
title {brand} {model} Soundbar {channels} {power} with {Sub} HDMI ARC Black
title {brand} {model} {channels} Sound Bar for TV, {power}, Bluetooth, {Sub}
line channels: 2.0 *0.7 | 2.1 | 3.1 *1.2 | 5.1 *1.6
line power: 80 W *0.8 | 160 W | 300 W *1.2 | 420 W *1.4
each sub: wireless subwoofer *1.2 | built-in subwoofer
lead Thin televisions sound thin; this bar gives them {power} of room-filling audio.
lead Speech becomes clear again and explosions get weight with a {channels} speaker bar.
say [sub=wireless subwoofer] The bass box finds its place anywhere in the room without a lead.
say [sub=built-in subwoofer] Bass drivers sit in the bar itself, so no extra box is needed.
say One cable to the telly is enough, and its remote controls the volume.
say Night mode keeps the family asleep.

== Televisions | Electronics > TV & Cinema | tv | 56 | 229-799 | code
title {brand} {model} {screen} {panel} 4K UHD Smart TV {rate}
title {brand} {model} {screen} 4K {panel} Television with HDR and {rate}
line panel: LED *0.8 | QLED | Mini-LED *1.4 | OLED *1.9
line rate: 60 Hz *0.85 | 100 Hz | 120 Hz *1.1 | 144 Hz *1.2
each screen: 32 inch *0.5 | 43 inch *0.7 | 50 inch *0.85 | 55 inch | 65 inch *1.4 | 75 inch *2
lead Sharp 4K pictures on {screen}, with streaming apps built in and no box needed.
lead Film night starts here: a {panel} panel at {rate} and colours that stay true from the side.
lead The {model} telly wakes quickly and finds programmes by voice.
say [rate=120 Hz] Console players get variable refresh and very low input lag.
say [rate=144 Hz] Fast matches and games stay razor sharp.
say [panel=OLED] Each pixel lights itself, so black really is black.
say [panel=LED] A simple set for bedroom or kitchen.
say Four HDMI sockets, two USB ports and Wi-Fi connect the rest.
say Stand width suits narrow sideboards; wall holes follow the VESA standard.

== TV Wall Brackets | Electronics > TV & Cinema | tv power | 36 | 15-99 | code
title {brand} {model} {Motion} TV Wall Bracket for {range} Screens up to {load}
title {brand} {model} TV Wall Mount {range} {Motion} VESA {vesa} Black
line motion: fixed *0.6 | tilting *0.8 | full motion *1.3
line load: 30 kg *0.8 | 45 kg | 60 kg *1.2
line vesa: 200 x 200 | 400 x 400 | 600 x 400
each range: 23-43 inch *0.8 | 32-55 inch | 43-75 inch *1.2
lead Hang a flat screen of {range} securely on brick or concrete.
lead Steel mount with a built-in spirit level, tested to hold {load}.
say [motion=full motion] The arm pulls out, swivels and tilts towards the sofa.
say [motion=fixed] Only 2 cm lie between wall and television.
say [motion=tilting] Tilt it downwards by fifteen degrees to lose reflections.
say Screws and plugs are included. TV not included.
say Hole pattern up to {vesa} mm.

== Cameras | Electronics > Photography | photo | 40 | 399-1599 | code
title {brand} {model} Mirrorless Camera {sensor} {pixels} 4K Video {Kit} {Colour}
title {brand} {model} {pixels} {sensor} Digital Camera, {Kit}, {Colour}
line sensor: APS-C | full-frame *1.6 | micro four thirds *0.85
line pixels: 20 MP *0.9 | 24 MP | 33 MP *1.15 | 45 MP *1.4
each kit: body only *0.85 | with 18-55 mm lens
each colour: black | silver
lead A light system camera with a {sensor} sensor and {pixels} for prints and big crops.
lead Photographers who travel like the {model}: small body, deep grip, quick focus on eyes.
say [kit=body only] Choose your own glass: no lens is included.
say [kit=with 18-55 mm lens] The zoom in the box covers landscapes and portraits.
say Video runs in 4K at 60 frames with a microphone socket.
say The screen folds out for selfies and low angles.
say Weather seals keep dust and drizzle outside.

== Camera Lenses | Electronics > Photography | photo | 36 | 179-1199 | code
title {brand} {model} {focal} {aperture} Lens {thread} Filter Thread
title {brand} {model} {focal} {aperture} {use} Lens Black
line focal: 16 mm | 35 mm | 50 mm *0.7 | 85 mm *1.1 | 18-55 mm *0.6 | 70-200 mm *1.6
line aperture: f/1.8 | f/2.8 *0.9 | f/4 *0.8
line thread: 52 mm | 58 mm | 67 mm | 77 mm *1.1
line use: landscape | portrait | travel | sports
lead Crisp from corner to corner, this {focal} objective is a favourite for {use} pictures.
lead {brand} glass at {aperture}, with a silent motor that suits video.
say Filters screw into a {thread} thread.
say A fluorine coating makes raindrops roll off the front.
say Nine rounded blades draw a soft background.
say Front and rear caps are included.

== Lens Caps | Electronics > Photography | own photo | 36 | 6-19 | none
fits Camera Lenses, thread
title {brand} Lens Cap {thread} for {fits} {Style}
title {brand} {thread} Front Lens Cap Compatible with {fits}, {Style}
line style: snap-on | centre pinch *1.2
each cord: with cord *1.1 | without cord
lead Lost the lid? This cap of {thread} closes the front of the {fits} again.
lead Protects the front glass of the {fits} from dust and fingers.
say [style=centre pinch] The centre grips can be reached even with the hood mounted.
say [cord=with cord] A thin leash keeps it on the camera.
say Matt plastic, no rattle, no reflections.
say Camera and objective are not included.

== Camera Bags | Electronics > Photography | photo cases | 32 | 19-149 | outdoor
title {brand} {model} Camera {Style} for Mirrorless Camera and {Lenses} Lenses {Colour}
title {brand} {model} Padded Camera {Style} {volume} Water-Repellent {Colour}
line style: shoulder bag | backpack *1.4 | holster *0.7
line lenses: two | three | four
line volume: 4 l *0.8 | 8 l | 18 l *1.5
each colour: black | grey | olive
lead Padded dividers hold a camera and {lenses} lenses apart on any road.
lead Photo gear for a weekend rides in {volume} of soft, shaped foam.
say [style=backpack] Wide straps and a chest belt carry the weight, and the back opens away from thieves.
say [style=shoulder bag] Swing it forward and the lid opens away from you.
say The rain cover hides in the bottom.
say A tripod straps to the side.
"""
