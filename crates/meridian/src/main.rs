//! The `meridian` binary; everything is in the library.

/// Requests are many small allocations that are freed on another thread than they were made on: see decision 0008.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    meridian::cli::main()
}
