//! The reason why the gateway has no TLS with its Host, in words for its admin. A client hears less, and can't mend it.

use crate::cluster::WHERE_SET;
use crate::failure::Failure;
use crate::settings::Trust;
use crate::tls::ClientConfig;

/// How a hint names the file of CAs in the settings, and the same by the gateway's option.
const CA_FILE: [&str; 2] = ["`kohakuriver config set ca_file FILE`", "`--host-api-ca FILE`"];
/// The start of each command that changes the settings.
const SET: &str = "`kohakuriver config set ";

/// Reads what `trust` names, as each connection will.
///
/// # Errors
/// When a file can't be used, or the system trusts nobody.
pub(crate) fn check(trust: &Trust, by_option: bool) -> Result<(), Failure> {
    ClientConfig::load(trust).map(drop).map_err(|failure| with_hint(failure, by_option))
}

/// Puts the hint into the gateway's own options, where these count: `by_option` if `--host-api` names the Host, so that no
/// setting does.
pub(super) fn with_hint(failure: Failure, by_option: bool) -> Failure {
    let Some(hint) = failure.advice().filter(|_| by_option) else { return failure };
    let hint = hint.replace(CA_FILE[0], CA_FILE[1]).replace(WHERE_SET, "");
    let without = if hint.contains(SET) { ", and set `host` there in place of --host-api" } else { "" };
    failure.hint(format!("{hint}{without}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Pins;
    use crate::tls::Fault;
    use crate::tls::tests::Authority;
    use std::path::Path;

    #[test]
    fn hints_name_what_counts() {
        let hint = |by_option, fault: &Fault| {
            let failure = Failure::new("x").hint(fault.hint("head"));
            with_hint(failure, by_option).advice().unwrap().to_owned()
        };
        let pin: Pins = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse().unwrap();
        let set_pin = format!("`kohakuriver config set pinned_key '{pin}'`");
        for (fault, by_option, by_setting) in [
            (Fault::UnknownCa(None), "and name it: `--host-api-ca FILE`", CA_FILE[0]),
            (Fault::WrongName(Vec::new()), "name the Host as its certificate does", "config show` shows where"),
            (Fault::SelfSigned(pin), &format!("{set_pin}, and set `host` there in place of --host-api"), &set_pin),
            (Fault::Expired(None), "to renew the certificate", "to renew the certificate"),
        ] {
            assert!(hint(true, &fault).ends_with(by_option), "{}", hint(true, &fault));
            assert!(hint(false, &fault).contains(by_setting), "{}", hint(false, &fault));
        }
        assert_eq!(with_hint(Failure::new("x"), true).advice(), None);
    }

    #[test]
    fn a_file_of_cas_that_can_not_be_used_is_a_failure() {
        let authority = Authority::new();
        let check = |file: &Path| check(&Trust { ca_file: Some(file.to_owned()), ..Trust::default() }, true);
        assert!(check(&authority.file()).is_ok());
        let absent = authority.file().with_extension("absent");
        let text = check(&absent).unwrap_err().render("p");
        assert!(text.contains(&absent.display().to_string()), "{text}");
    }
}
