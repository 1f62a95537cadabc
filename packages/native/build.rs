fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Node may unload an addon when a worker ends; thread-local destructors must still find their code.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
