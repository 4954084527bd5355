import SwiftUI

/// The app: one window with one screen.
@main
struct PgganApp: App {
    var body: some Scene {
        WindowGroup {
            ContentView()
        }
    }
}
