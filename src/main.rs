//! The `cairn` program: arguments → configuration → application → command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, task] = arguments.as_slice()
        && command == cairn::kb::parser::COMMAND
    {
        // A parser process: no runtime, no configuration, only its limits.
        return ExitCode::from(u8::try_from(cairn::kb::parser::child::run(task)).unwrap_or(1));
    }
    cairn::cli::main()
}
