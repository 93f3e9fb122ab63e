//! The `dpg` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    dpg_api::cli::main()
}
