//! The story's voice: numbered chapters and indented lines on standard output.

use std::io::Write;

use super::error::DemoError;

/// Prints the story.
pub(super) struct Narrator<W> {
    out: W,
    chapter: u32,
}

impl<W: Write> Narrator<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, chapter: 0 }
    }

    pub(super) fn chapter(&mut self, title: &str) -> Result<(), DemoError> {
        self.chapter += 1;
        let line = format!("\n{}. {title}", self.chapter);
        self.print(&line)
    }

    pub(super) fn line(&mut self, text: &str) -> Result<(), DemoError> {
        self.print(&format!("   {text}"))
    }

    /// A command on a line of its own, unindented, so that it can be picked up as it is.
    pub(super) fn command(&mut self, what: &str, command: &str) -> Result<(), DemoError> {
        self.print(&format!("\n# {what}\n{command}"))
    }

    pub(super) fn print(&mut self, text: &str) -> Result<(), DemoError> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).map_err(DemoError::Output)
    }
}
