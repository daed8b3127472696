//! The `meridian` binary; everything is in the library.

fn main() -> std::process::ExitCode {
    meridian::cli::main()
}
