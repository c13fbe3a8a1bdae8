//! Floor 7: parse, dispatch, exit code.

fn main() -> std::process::ExitCode {
    thawline::cli::main(std::env::args_os())
}
