//! The program under test: the twin of `lokt/src/main.rs`.

fn main() -> std::process::ExitCode {
    lokt::cli::main()
}
