//! Parse, dispatch, exit code.

fn main() -> std::process::ExitCode {
    thawline_calibrate::cli::main(std::env::args_os())
}
