//! Arguments of a benchmark.

use std::str::FromStr;

/// The words after the benchmark's name, without those that cargo adds.
pub struct Arguments<I> {
    words: I,
    /// The word that was given last.
    last: String,
}

impl<I: Iterator<Item = String>> Arguments<I> {
    pub fn new(words: I) -> Self {
        Self {
            words,
            last: String::new(),
        }
    }

    /// The value that belongs to the word before.
    pub fn value(&mut self) -> Result<String, String> {
        let value = self.words.next();
        value.ok_or_else(|| format!("{}: a value is missing", self.last))
    }

    /// The same, as a number.
    pub fn number<T: FromStr>(&mut self) -> Result<T, String> {
        let value = self.value()?;
        let number = value.parse();
        number.map_err(|_| format!("{}: {value}: no number", self.last))
    }
}

impl<I: Iterator<Item = String>> Iterator for Arguments<I> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let word = self.words.find(|word| word != "--bench")?;
        self.last.clone_from(&word);
        Some(word)
    }
}
