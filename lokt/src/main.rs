//! The `lokt` program: all of it is in [`lokt::cli`].

fn main() -> std::process::ExitCode {
    lokt::cli::main()
}
