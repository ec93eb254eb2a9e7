//! `cargo lab`

fn main() -> std::process::ExitCode {
    service_registry_lab::tasks::main()
}
