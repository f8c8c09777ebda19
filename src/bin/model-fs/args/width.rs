//! Help and usage in the columns of the terminal.
//!
//! Guarantees: what is told of a command line isn't cut in the middle of a word where the terminal
//! has 40 columns or more. Doesn't: change what parses.

use clap::Command;

/// Columns below which a flag and what it does share no line: the flags alone take some 40.
const NARROW: usize = 60;

/// What stands before a usage.
const LABEL: &str = "Usage: ";

/// The same command, with help for a terminal of so many columns.
pub(super) fn fit(mut command: Command, columns: usize) -> Command {
    // Usage needs the names of the verbs above.
    command.build();
    fit_built(command, columns)
}

fn fit_built(mut command: Command, columns: usize) -> Command {
    // clap wraps all but this.
    let usage = command.render_usage().to_string();
    if usage.lines().any(|line| line.len() > columns) {
        let usage = usage.strip_prefix(LABEL).unwrap_or(&usage);
        command = command.override_usage(wrapped(usage, columns));
    }
    command
        .next_line_help(columns < NARROW)
        .mut_subcommands(|verb| fit_built(verb, columns))
}

/// Usage that is broken between words, indented as it is after its label.
fn wrapped(usage: &str, columns: usize) -> String {
    let indent = " ".repeat(LABEL.len());
    let mut lines: Vec<String> = Vec::new();
    for line in usage.lines() {
        let mut current = String::new();
        for word in line.split_whitespace() {
            if !current.is_empty() && LABEL.len() + current.len() + 1 + word.len() > columns {
                lines.push(std::mem::take(&mut current));
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        lines.push(current);
    }
    lines.join(&format!("\n{indent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_broken_between_words() {
        let usage = "model-fs a [OPTIONS] <MODEL>\n       model-fs b";
        let expected = "model-fs a\n       [OPTIONS]\n       <MODEL>\n       model-fs b";
        assert_eq!(wrapped(usage, 20), expected);
        assert_eq!(wrapped(usage, 80), usage);
    }
}
