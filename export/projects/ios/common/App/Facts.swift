// What the network's package says about itself. pggan export has written these lines from the package's own table of
// functions: change them only together with the package.

/// A function of the package: its name, the shapes of its inputs by their names, and the size of the image that it returns.
/// The image is an array of floats [1, height, width, channels] in whole numbers 0...255.
struct Signature: Hashable {
    let name: String
    let inputs: [String: [Int]]
    let height: Int
    let width: Int
    let channels: Int
}

enum Facts {
    /// The name of generator.mlpackage without its ending.
    static let file = "generator"

    /// Its functions, the one of the largest image first.
    static let signatures = [
@SIGNATURES@
    ]@MORE@
}
