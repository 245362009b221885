//! Whether the Host API answers, what kind of Host it is of, and whether its clock is ours.

use std::time::{Duration, SystemTime};

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use crate::api::ApiError;
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::settings::{self, env_vars};

/// Clocks further apart than this are worth a word: certificates and logs go by them.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

pub(super) const CHECKS: &[Check] = &[
    Check { name: "host-api", of_vps: false, examine: host_api },
    Check { name: "token", of_vps: false, examine: token },
];

fn host_api(case: &mut Case) -> (String, Verdict) {
    let Some(base) = case.base() else {
        return ("the Host API".to_owned(), Verdict::Skipped("there are no settings".to_owned()));
    };
    let tried = format!("GET {base}/api/nodes");
    let what = format!("cannot ask the Host API at {base}");
    let show = "kohakuriver config show";
    let about = case.ask(|client| async move { Ok(client.about().await) });
    let verdict = match about {
        Err(failure) => Verdict::wrong(&failure, show),
        // Whoever asks, and whatever is amiss with it, a Host has an answer to this question.
        Ok(Err(error @ ApiError::Status { .. })) => {
            let failure = Failure::new(what).because(&error);
            let failure = failure
                .hint(format!("something else may listen there; see which address is set, and where, with `{show}`"));
            Verdict::wrong(&failure, show)
        }
        Ok(Err(error)) => Verdict::wrong(&error.failure(what), show),
        Ok(Ok(about)) => {
            case.api = true;
            let kind = match about.at_root {
                true => "an older Host (hakuriver 0.3), which has its API at the root",
                false => "a Host of today, which has its API under /api",
            };
            let software = about.software.map(|software| format!(" ({software})")).unwrap_or_default();
            match about.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok()).map(clock) {
                None => Verdict::Fine(format!("{kind}{software}")),
                Some(Ok(text)) => Verdict::Fine(format!("{kind}{software}; {text}")),
                Some(Err(text)) => Verdict::Note(format!("{kind}{software}; {text}")),
            }
        }
    };
    (tried, verdict)
}

fn clock(theirs: SystemTime) -> Result<String, String> {
    let ours = SystemTime::now();
    let (apart, how) = match theirs.duration_since(ours) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seconds = Duration::from_secs(apart.as_secs());
    if apart <= CLOCK_TOLERANCE {
        return Ok("its clock agrees with ours".to_owned());
    }
    Err(format!("its clock is {} {how} ours", humantime::format_duration(seconds)))
}

fn token(case: &mut Case) -> (String, Verdict) {
    let from_env = settings::process_environment(env_vars::KOHAKURIVER_TOKEN).is_some();
    let from = if from_env { env_vars::KOHAKURIVER_TOKEN } else { "~/.kohakuriver/auth.json" };
    let (login, forget) = ("kohakuriver auth login", format!("unset {}", env_vars::KOHAKURIVER_TOKEN));
    let token = match settings::load_token() {
        Ok(token) => token,
        Err(failure) => {
            return (format!("the token of {from}"), Verdict::wrong(&failure, if from_env { &forget } else { login }));
        }
    };
    let tried = match &token {
        Some(_) => format!("the token of {from}"),
        None => "no token, neither in KOHAKURIVER_TOKEN nor in ~/.kohakuriver/auth.json".to_owned(),
    };
    case.token.clone_from(&token);
    if !case.api {
        return (tried, Verdict::Skipped("the Host API does not answer".to_owned()));
    }
    let base = case.base().unwrap_or_default();
    let asked = case.ask(|client| async move { Ok(client.user().await) });
    let verdict = match asked {
        Ok(Ok(Some(user))) => Verdict::Fine(format!("{} of role {}", user.name, user.role)),
        Ok(Ok(None)) => Verdict::Fine("the Host has no users, and whoever reaches it may do everything".to_owned()),
        Ok(Err(ApiError::Refusal(Refusal::TokenNeeded))) => unknown(token.as_ref(), from_env, &base),
        Ok(Err(error)) => Verdict::wrong(&error.failure(format!("cannot ask the Host at {base} who you are")), login),
        Err(failure) => Verdict::wrong(&failure, login),
    };
    (tried, verdict)
}

/// A Host takes a wrong token for an anonymous user, so it never says that it is wrong.
fn unknown(token: Option<&Token>, from_env: bool, base: &str) -> Verdict {
    let failure = match token {
        None => Failure::new(format!("you are not logged in to the Host at {base}"))
            .cause("it has users, and there is no token to tell it who you are"),
        Some(_) => Failure::new(format!("the Host at {base} does not know your token"))
            .cause("it takes you for an anonymous user: the token was revoked, is of another Host, or is mistyped"),
    };
    let failure = if from_env && token.is_some() {
        failure.hint("set it again; without it, the one that `auth login` stores counts")
    } else {
        failure.hint("log in with `kohakuriver auth login`")
    };
    let mut verdict = Verdict::wrong(&failure, "kohakuriver auth login");
    if let (Verdict::Wrong(wrong), true, true) = (&mut verdict, from_env, token.is_some()) {
        wrong.command = format!("unset {}", env_vars::KOHAKURIVER_TOKEN);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_in_words() {
        let now = SystemTime::now();
        assert!(clock(now).is_ok() && clock(now - Duration::from_secs(30)).is_ok());
        assert_eq!(clock(now - Duration::from_secs(7200)), Err("its clock is 2h behind ours".to_owned()));
        let ahead = clock(now + Duration::from_secs(3600) + Duration::from_millis(900));
        assert_eq!(ahead, Err("its clock is 1h ahead of ours".to_owned()));
    }
}
