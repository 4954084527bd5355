import PhotosUI
import SwiftUI

/// The screen: a button that opens a photo, the middle of the photo, and what the network makes of it.
struct ContentView: View {
    @State private var network = Network() // State: kept while the screen is drawn anew
    @State private var chosen: PhotosPickerItem?
    @State private var before: CGImage?
    @State private var after: CGImage?
    @State private var status = @INSTRUCTION_QUOTED@

    var body: some View {
        ScrollView {
            VStack(spacing: 16) {
                // The system shows the photos: the app sees the chosen one alone, and needs no permission.
                PhotosPicker("Open a photo", selection: $chosen, matching: .images)
                    .buttonStyle(.borderedProminent)
                Text(verbatim: status)
                picture(before, about: @BEFORE_QUOTED@)
                picture(after, about: @AFTER_QUOTED@)
            }
            .padding()
        }
        // Runs when another photo was chosen.
        .task(id: chosen) {
            guard let chosen else { return }
            status = "Working …"
            do {
                guard let data = try await chosen.loadTransferable(type: Data.self), let photo = UIImage(data: data) else {
                    status = "This photo cannot be read."
                    return
                }
                let made = try await network.convert(photo)
                (before, after) = (made.before, made.after)
                status = "\(made.before?.width ?? 0)x\(made.before?.height ?? 0) pixels became \(made.after?.width ?? 0)x\(made.after?.height ?? 0)"
            } catch {
                status = error.localizedDescription
            }
        }
    }

    /// Shows a picture as wide as the screen. about: words for people who hear the screen.
    @ViewBuilder
    private func picture(_ image: CGImage?, about: String) -> some View {
        if let image {
            Image(decorative: image, scale: 1)
                .resizable()
                .scaledToFit()
                .accessibilityElement()
                .accessibilityLabel(about)
        }
    }
}
