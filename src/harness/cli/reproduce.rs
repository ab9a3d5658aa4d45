//! The command lines that make an answer again.

use std::path::Path;

use super::args::{Global, OverrideArgs, Strictness};

/// A command line in the making. An option that has its usual value is left out.
pub(super) struct CommandLine(Vec<String>);

impl CommandLine {
    /// Of that command.
    pub(super) fn new(command: &str) -> Self {
        Self(vec!["plimsoll".to_owned(), command.to_owned()])
    }

    /// With these words as well.
    pub(super) fn words<T: ToString>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.0
            .extend(words.into_iter().map(|word| word.to_string()));
        self
    }

    /// With an option for each of the values.
    pub(super) fn option<T: ToString>(
        mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        for value in values {
            self.0.extend([name.to_owned(), value.to_string()]);
        }
        self
    }

    /// With a switch, if it is on.
    pub(super) fn switch(self, name: &str, is_on: bool) -> Self {
        self.words(is_on.then_some(name))
    }

    /// With what makes the verdict stricter.
    pub(super) fn strictness(self, strictness: Strictness) -> Self {
        self.switch("--strict", strictness.strict)
            .switch("--beyond-margin", strictness.beyond_margin)
            .switch("--require-baseline", strictness.require_baseline)
    }

    /// With what is changed of the scenarios.
    pub(super) fn overrides(self, overrides: &OverrideArgs) -> Self {
        let options = overrides.options();
        options.fold(self, |line, (name, value)| line.option(name, [value]))
    }

    /// With the folder of baselines.
    pub(super) fn baselines(self, folder: &Path) -> Self {
        let other = (folder != Path::new("baselines")).then(|| folder.display());
        self.option("--baselines", other)
    }

    /// With the history's file. Who gave a URL knows to give it again.
    pub(super) fn store(self, global: &Global) -> Self {
        self.option("--store", global.store_file())
    }

    /// As it is typed.
    pub(super) fn line(self) -> String {
        shell_words::join(self.0)
    }
}
