//! The `palisade` program: a thin shell over the library. `cli` says what its exit codes mean.

use std::process::ExitCode;

use clap::Parser;

mod cli;

/// Batches are large, many and short-lived, and are freed by other threads than those that made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    cli::start_logs(&arguments);
    match cli::dispatch(arguments) {
        Ok(code) => code,
        Err(error) => {
            cli::term::complain(&error);
            cli::code_of(&error)
        }
    }
}
