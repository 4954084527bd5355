import SwiftUI

/// What is wanted of the network. The screen draws anew when one of them changes.
private struct Wanted: Hashable {
    var seed = UInt32.random(in: 0..<1_000_000)
    var stage = Facts.signatures[0]
    var variety: Float = 1
    var kind = 0
}

/// The screen: an image, a button for another one, and controls for its size, its variety and its class.
struct ContentView: View {
    @State private var network = Network() // State: kept while the screen is drawn anew
    @State private var wanted = Wanted()
    @State private var image: CGImage?
    @State private var problem = ""

    var body: some View {
        Form {
            Section {
                if let image {
                    // Small images are enlarged with visible pixels: interpolation none.
                    Image(decorative: image, scale: 1)
                        .interpolation(.none)
                        .resizable()
                        .scaledToFit()
                        .accessibilityElement()
                        .accessibilityLabel(@SUBJECT_QUOTED@)
                }
                Text(verbatim: "Seed \(wanted.seed), \(wanted.stage.width)x\(wanted.stage.height) pixels")
                if !problem.isEmpty {
                    Text(verbatim: problem)
                }
                Button(@BUTTON_QUOTED@) {
                    wanted.seed = UInt32.random(in: 0..<1_000_000)
                }
            }
            Section {
                Picker("Size in pixels", selection: $wanted.stage) {
                    ForEach(Facts.signatures, id: \.self) { stage in
                        Text(verbatim: "\(stage.width)x\(stage.height)").tag(stage)
                    }
                }
                if wanted.stage.inputs["truncation"] != nil {
                    VStack(alignment: .leading) {
                        Text("Variety")
                        Slider(value: $wanted.variety, in: 0...1)
                            .accessibilityLabel("Variety")
                    }
                }
                if !Facts.classes.isEmpty {
                    Picker("Kind", selection: $wanted.kind) {
                        ForEach(Facts.classes.indices, id: \.self) { place in
                            Text(verbatim: Facts.classes[place]).tag(place)
                        }
                    }
                }
            }
        }
        // Runs when the screen appears, and again when something else is wanted; what is then still waiting is left out.
        .task(id: wanted) {
            do {
                let drawn = try await network.draw(wanted.stage, seed: wanted.seed, variety: wanted.variety, kind: wanted.kind)
                if !Task.isCancelled {
                    image = drawn
                    problem = ""
                }
            } catch {
                problem = error.localizedDescription
            }
        }
    }
}
