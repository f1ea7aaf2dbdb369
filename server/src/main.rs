//! The `ballast` program: `ballast [redis.conf] [--directive value …]`, or a sub-command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use ballast_server::config::Startup;
use ballast_server::{Level, Server, StartError};

#[global_allocator]
static ALLOCATOR: ballast_storage::memory::CountingAllocator =
    ballast_storage::memory::CountingAllocator;

fn main() -> ExitCode {
    ballast_storage::memory::refuse_huge_pages();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = ballast_server::cli::run(&arguments) {
        return code;
    }
    match Startup::parse(&arguments, &mut std::io::stdin()) {
        Ok(Startup::Run(config)) => {
            exit_on_panic();
            serve(*config)
        }
        Ok(Startup::Help(text)) => {
            println!("{text}\n{}", ballast_server::cli::HELP);
            ExitCode::SUCCESS
        }
        Ok(Startup::Version) => {
            println!("Ballast server v={}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: ballast_server::config::Config) -> ExitCode {
    match Server::builder().config(config).follow_signals().start_now() {
        Ok(server) => {
            server.log_line(Level::Notice, "Ready to accept connections");
            if server.join().is_err() {
                return ExitCode::FAILURE;
            }
        }
        Err(StartError::Ended) => {}
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    println!("Ballast is now ready to exit, bye bye...");
    ExitCode::SUCCESS
}

/// A thread that panics would leave its slots and clients without an owner: better no process.
fn exit_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::exit(70);
    }));
}
