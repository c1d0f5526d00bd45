//! The `palisade` program: a thin shell over the library. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 findings at or
//! above the level given with `--fail-on`, 130 a scan that was interrupted.

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
            ExitCode::FAILURE
        }
    }
}
