//! All bounds, measured: the one pass that the test, the bless command and the printing example share.
//! Each artefact is built and read once, each function decoded once.
//! What cannot be looked at is kept with its reason, so that nobody takes it for passed.

use crate::artefact::{self, Artefact, Found};
use crate::bounds::{Bound, Bounds};
use crate::code::Code;
use crate::image::Image;
use crate::path::{self, Counts};

/// One way, measured.
#[derive(Debug)]
pub struct Row {
    /// Its bound.
    pub bound: Bound,
    /// The instructions on it, as indices.
    pub way: Vec<usize>,
    /// What they come to.
    pub counts: Counts,
}

/// A function with the ways through it that have bounds.
#[derive(Debug)]
pub struct Surveyed {
    /// Where it was found.
    pub artefact: &'static Artefact,
    /// The function.
    pub code: Code,
    /// Its ways, in the order of `bounds.toml`.
    pub rows: Vec<Row>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Every function that has a bound, in the order of `bounds.toml`.
    pub functions: Vec<Surveyed>,
    /// Artefacts that were not looked at, and why.
    pub not_run: Vec<(&'static Artefact, String)>,
    /// Functions or ways that are not there.
    pub failures: Vec<String>,
}

impl Survey {
    /// Measures everything in `bounds`.
    pub fn run(bounds: &Bounds) -> Result<Survey, String> {
        let mut survey = Survey::default();
        for artefact in &artefact::ALL {
            let wanted: Vec<&Bound> =
                bounds.bound.iter().filter(|bound| bound.artefact == artefact.name).collect();
            if wanted.is_empty() {
                continue;
            }
            match artefact.find()? {
                Found::File(file) => survey.measure(artefact, &Image::open(&file)?, &wanted),
                Found::NotRun(why) => survey.not_run.push((artefact, why)),
            }
        }
        Ok(survey)
    }

    fn measure(&mut self, artefact: &'static Artefact, image: &Image, bounds: &[&Bound]) {
        for bound in bounds {
            let known = self
                .functions
                .iter()
                .position(|f| f.artefact.name == artefact.name && f.code.name == bound.symbol);
            let index = known.map_or_else(|| self.decode(artefact, image, &bound.symbol), Ok);
            let measured = index.and_then(|index| {
                let code = &self.functions[index].code;
                let way = path::walk(code, bound.path, &bound.taken)?;
                let counts = path::count(code, &way);
                self.functions[index].rows.push(Row { bound: (*bound).clone(), way, counts });
                Ok(())
            });
            if let Err(why) = measured {
                self.failures.push(format!("{}: {why}", bound.title()));
            }
        }
    }

    fn decode(
        &mut self,
        artefact: &'static Artefact,
        image: &Image,
        symbol: &str,
    ) -> Result<usize, String> {
        let code = Code::decode(image, image.function(symbol)?)?;
        self.functions.push(Surveyed { artefact, code, rows: Vec::new() });
        Ok(self.functions.len() - 1)
    }

    /// Every way that was measured.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.functions.iter().flat_map(|function| &function.rows)
    }

    /// Whether an artefact was looked at.
    #[must_use]
    pub fn has_run(&self, name: &str) -> bool {
        !self.not_run.iter().any(|(artefact, _)| artefact.name == name)
    }
}
