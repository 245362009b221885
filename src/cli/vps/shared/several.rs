//! A verb that changes several VPSes: all are looked up before the first is changed, and each is changed by itself.

use std::collections::HashSet;

use crate::api::{ApiError, Client, Generation, Vps};
use crate::cli::host::{ask_host, client, named, one_vps, vps_cache, vps_ref};
use crate::cli::programs::names::PROGRAM;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Settings;

#[derive(clap::Args, Debug)]
pub(crate) struct Named {
    /// Task ids or names of the VPSes
    #[arg(value_name = "VPS", required = true, add = vps_cache::candidates())]
    vpses: Vec<String>,
}

impl Named {
    /// The VPSes, as typed.
    pub(crate) fn typed(&self) -> Vec<&str> {
        self.vpses.iter().map(String::as_str).collect()
    }

    /// A client of the Host, the VPSes, each once, and the generation of calls by which this Host changes them.
    ///
    /// # Errors
    /// If one of them is unknown.
    pub(crate) fn find(&self, settings: &Settings) -> Result<(Client, Vec<Vps>, Generation), Failure> {
        let wanted: Vec<_> =
            self.vpses.iter().map(|typed| vps_ref(&settings.cluster, typed)).collect::<Result<_, _>>()?;
        let client = client(settings)?;
        let (vpses, generation) = ask_host(settings, async {
            let (mut vpses, mut seen) = (Vec::new(), HashSet::new());
            for wanted in &wanted {
                let vps = one_vps(&client, wanted).await?;
                if seen.insert(vps.id) {
                    vpses.push(vps);
                }
            }
            let cannot = |error: ApiError| error.failure(format!("cannot change {}", all_named(&vpses)));
            let generation = client.generation().await.map_err(cannot)?;
            Ok((vpses, generation))
        })?;
        Ok((client, vpses, generation))
    }
}

/// The VPSes as prompts name them.
pub(crate) fn all_named(vpses: &[Vps]) -> String {
    let names: Vec<String> = vpses.iter().map(named).collect();
    format!("{} {}", if names.len() == 1 { "VPS" } else { "VPSes" }, names.join(", "))
}

/// Changes each VPS. A failure is printed, and the others are still changed, unless the user interrupted.
///
/// # Errors
/// If a change failed.
pub(crate) fn each(vpses: &[Vps], change: impl Fn(&Vps) -> Result<(), Failure>) -> Result<(), Failure> {
    if let [vps] = vpses {
        return change(vps);
    }
    let mut failed = 0;
    for vps in vpses {
        match change(vps) {
            Err(failure) if failure.is_interrupted() => return Err(failure),
            Err(failure) => {
                ui::remark(failure.render(PROGRAM).trim_end());
                failed += 1;
            }
            Ok(()) => {}
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::new(format!("{failed} of {} VPSes failed", vpses.len()))) }
}
