//! The `lokt` program: all of it is in [`lokt::cli`].

/// The allocator of the static program. That of its C library is made for the least memory: hundreds of times before
/// a command starts it would give pages back to the kernel, and ask for others.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    lokt::cli::main()
}
