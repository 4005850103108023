//! `cairn completions` and `man`: what shells and manuals know about the commands.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::{Cli, Done, Global};
use crate::error::Result;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn completions bash > ~/.local/share/bash-completion/completions/cairn
  cairn completions zsh > ~/.zfunc/_cairn
  cairn completions fish > ~/.config/fish/completions/cairn.fish")]
pub(super) struct CompletionsArgs {
    /// Shell to complete commands in
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn man | man -l -
  cairn man --out ~/.local/share/man/man1        one page per command: man cairn-search")]
pub(super) struct ManArgs {
    /// Directory for the pages of all commands [default: print the page of cairn]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Done {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "cairn",
        &mut std::io::stdout(),
    );
    Done::All
}

pub(super) fn man(global: &Global, args: &ManArgs) -> Result<Done> {
    let Some(directory) = &args.out else {
        clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
        return Ok(Done::All);
    };
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Cli::command(), directory)?;
    if global.json {
        println!("{}", json!({"directory": directory}));
    } else {
        println!("The pages of all commands are in {}.", directory.display());
    }
    Ok(Done::All)
}
