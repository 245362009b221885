//! The transport of programs with a runtime, the gateway and `kohakuriver`: requests over connections that are kept.
//!
//! hyper-util pools connections, resolves names, and tries both address families without waiting for a dead one
//! (RFC 8305). A gateway sends requests to its Host all the time, so it keeps the connections open.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::Value;
#[cfg(feature = "gateway")]
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use crate::api::client::Api;
use crate::api::connector::Connector;
use crate::api::error::{ApiError, OffRoute, chain, innermost, is_refused};
use crate::api::plain::{self, SystemNames};
use crate::api::transport::{
    Answer, MAX_BODY, REQUEST_LIMIT, Transport, USER_AGENT, cut_off, too_large, unreachable, unusable,
};
use crate::route::{Route, RouteError};
use crate::secret::Token;
use crate::settings::{Origin, ProxyAddress, Scheme, Settings};
use crate::sys;
use crate::text::excerpt;

/// How long an idle connection is kept. A Host closes one after 5 s; with a longer time here, a request could be written
/// into a connection that the Host is closing.
const IDLE_LIMIT: Duration = Duration::from_secs(3);

/// The size from which a body is large, in bytes. Parsing it takes milliseconds, and many times its memory.
const LARGE_BODY: usize = 256 * 1024;
/// Most large bodies that are read, parsed and used at once.
const LARGE_BODIES: usize = 2;

/// Time limit for a request that makes a Runner fetch an image or start a virtual machine.
pub const WORK_LIMIT: Duration = Duration::from_secs(15 * 60);
/// The name of the cookie that holds a session.
const SESSION_COOKIE: &str = "kohakuriver_session";

/// One request: what to send, and with which secret.
pub(super) struct ApiRequest<'a> {
    pub(super) method: Method,
    /// Starts with a slash.
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    pub(super) bearer: Option<&'a Token>,
    /// The cookie of a session that was opened with a password.
    pub(super) session: Option<&'a Token>,
    pub(super) limit: Duration,
}

impl<'a> ApiRequest<'a> {
    /// A plain GET.
    pub(super) fn get(path: &'a str, bearer: Option<&'a Token>) -> Self {
        Self { method: Method::GET, path, body: None, bearer, session: None, limit: REQUEST_LIMIT }
    }

    /// A POST, which changes something.
    pub(super) fn post(path: &'a str, body: Option<&'a Value>, bearer: Option<&'a Token>) -> Self {
        Self { method: Method::POST, body, ..Self::get(path, bearer) }
    }
}

/// Sends requests to one Host.
#[derive(Clone)]
pub struct Pooled {
    base: String,
    /// No setting names this Host: `base` is the default.
    is_default: bool,
    way: Way,
    large: Arc<Semaphore>,
}

/// How a request gets to the server.
#[derive(Clone)]
enum Way {
    Tcp(HttpClient<HttpConnector<SystemNames>, Full<Bytes>>),
    /// With TLS, or through a proxy.
    Routed(Box<HttpClient<Connector, Full<Bytes>>>),
    /// Over the UNIX socket with this file, a connection for each request.
    Local(PathBuf),
}

/// A client for a program with a runtime.
pub type Client = Api<Pooled>;

impl Client {
    /// A client of the API at `base`: `http://host:port`. Nothing is sent yet.
    ///
    /// # Errors
    /// When `base` is not such an address.
    pub fn new(base: &str, token: Option<Token>) -> Result<Self, ApiError> {
        Self::by(base, Route::default(), token)
    }

    /// A client that reaches the API over `route`.
    ///
    /// # Errors
    /// The errors of [`Client::new`].
    pub fn by(base: &str, route: Route, token: Option<Token>) -> Result<Self, ApiError> {
        Ok(Self::over(Pooled::routed(base, route)?, token))
    }

    /// A client of the Host in the settings. Nothing is sent yet.
    ///
    /// # Errors
    /// When its address can't be used.
    pub fn of(settings: &Settings, token: Option<Token>) -> Result<Self, ApiError> {
        let transport = Pooled::to(settings, settings.api())?;
        Ok(Self::over(Pooled { is_default: settings.names_no_host(), ..transport }, token))
    }

    /// A client of the same Host, whose large answers wait for no other client's. It reads one at a time.
    #[cfg(feature = "gateway")]
    pub(crate) fn apart(&self) -> Self {
        let transport = self.shared.transport.clone();
        Self::over(Pooled { large: Arc::new(Semaphore::new(1)), ..transport }, self.token.clone())
    }
}

impl Pooled {
    /// A server at the UNIX socket with this file. Nothing is sent yet.
    pub(super) fn local(path: PathBuf) -> Self {
        let base = format!("unix:{}", path.display());
        Self { base, is_default: false, way: Way::Local(path), large: Arc::new(Semaphore::new(LARGE_BODIES)) }
    }

    /// Reads `http://host[:port][/path]`. Nothing is sent yet.
    pub(super) fn new(base: &str) -> Result<Self, ApiError> {
        Self::routed(base, Route::default())
    }

    /// The server at `origin`, on the way that `settings` say. Nothing is sent yet.
    pub(super) fn to(settings: &Settings, origin: Origin) -> Result<Self, ApiError> {
        let base = origin.to_string();
        let route = Route::of(settings, &origin).map_err(|failure| {
            let error = RouteError::Settings(failure);
            unreachable(&base, OffRoute { error, origin, upstream: None })
        })?;
        Self::routed(&base, route)
    }

    /// The server at `base`, over `route`. A route that changes nothing is left to hyper-util.
    fn routed(base: &str, route: Route) -> Result<Self, ApiError> {
        let wrong = |why| ApiError::Base { base: excerpt(base), why };
        let (normal, origin) = normalised(base).map_err(wrong)?;
        let mut builder = HttpClient::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE_LIMIT).pool_timer(TokioTimer::new());
        let way = if route.is_direct(&origin) {
            Way::Tcp(builder.build(plain::connector()))
        } else {
            Way::Routed(Box::new(builder.build(Connector { origin, route })))
        };
        Ok(Self { base: normal, is_default: false, way, large: Arc::new(Semaphore::new(LARGE_BODIES)) })
    }

    pub(super) async fn send(&self, request: ApiRequest<'_>) -> Result<Answer, ApiError> {
        let limit = request.limit;
        let exchange = async {
            let encoded = self.encode(&request)?;
            let response = match &self.way {
                Way::Tcp(http) => http.request(encoded).await.map_err(Into::into),
                Way::Routed(http) => http.request(encoded).await.map_err(Into::into),
                Way::Local(path) => send_locally(path, encoded).await,
            };
            self.read(response.map_err(|error| self.failed(error))?).await
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ApiError::Timeout { base: self.base.clone(), limit }),
        }
    }

    fn encode(&self, request: &ApiRequest<'_>) -> Result<Request<Full<Bytes>>, ApiError> {
        let base = match &self.way {
            Way::Tcp(_) | Way::Routed(_) => &self.base,
            // Only the path is sent.
            Way::Local(_) => "",
        };
        let mut encoded = Request::builder()
            .method(&request.method)
            .uri(format!("{base}{}", request.path))
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT);
        // Hosts accept only this spelling of the scheme.
        for (name, prefix, secret) in [
            (header::AUTHORIZATION, "Bearer ".to_owned(), request.bearer),
            (header::COOKIE, format!("{SESSION_COOKIE}="), request.session),
        ] {
            // A token is visible ASCII, so this never fails.
            let value = secret.and_then(|secret| HeaderValue::try_from(prefix + secret.expose()).ok());
            if let Some(mut value) = value {
                value.set_sensitive(true);
                encoded = encoded.header(name, value);
            }
        }
        let body = match request.body {
            Some(body) => {
                encoded = encoded.header(header::CONTENT_TYPE, "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        encoded.body(body).map_err(|error| unreachable(&self.base, error))
    }

    /// The failure of an exchange, without the words of hyper.
    fn failed(&self, error: Box<dyn Error + Send + Sync>) -> ApiError {
        let by_hyper = |is: fn(&hyper::Error) -> bool| chain(&*error).any(|e| e.downcast_ref().is_some_and(is));
        if self.is_default && is_refused(&*error) {
            return ApiError::NoHost { base: self.base.clone(), why: innermost(&*error) };
        }
        if by_hyper(hyper::Error::is_parse) {
            return unusable(&self.base, "it is not HTTP");
        }
        if by_hyper(hyper::Error::is_incomplete_message) {
            return cut_off(&self.base);
        }
        unreachable(&self.base, error)
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, ApiError> {
        let status = response.status().as_u16();
        let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok()).map(excerpt);
        let session = response.headers().get_all(header::SET_COOKIE).iter().find_map(session);
        let mut incoming = Limited::new(response.into_body(), MAX_BODY);
        let (mut body, mut turn) = (Vec::new(), None);
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
                true => too_large(&self.base),
                false => self.failed(error),
            })?;
            body.extend_from_slice(&frame.into_data().unwrap_or_default());
            if body.len() > LARGE_BODY && turn.is_none() {
                // The semaphore is never closed.
                turn = Arc::clone(&self.large).acquire_owned().await.ok();
            }
        }
        let read = || Answer::new(status, &body);
        let mut answer = if turn.is_some() { self.apart(read) } else { read() };
        answer.date = date;
        answer.session = session;
        answer.turn = turn.map(|turn| Box::new(turn) as Box<_>);
        Ok(answer)
    }
}

impl Transport for Pooled {
    fn base(&self) -> &str {
        &self.base
    }

    async fn get(&self, path: &str, token: Option<&Token>) -> Result<Answer, ApiError> {
        self.send(ApiRequest::get(path, token)).await
    }

    fn apart<R>(&self, work: impl FnOnce() -> R) -> R {
        // Gives this thread's other tasks to another thread for that time. Only the gateway has several.
        #[cfg(feature = "gateway")]
        if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            return tokio::task::block_in_place(work);
        }
        work()
    }

    async fn pause(&self, time: Duration) -> Result<(), ApiError> {
        tokio::time::sleep(time).await;
        Ok(())
    }
}

/// Sends a request over the UNIX socket at `path`.
async fn send_locally(
    path: &Path,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Box<dyn Error + Send + Sync>> {
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    let stream = TokioIo::new(sys::connect_locally(path).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    // Its errors are those of the request.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// The session in a `Set-Cookie` field (RFC 6265 §4.1).
fn session(field: &HeaderValue) -> Option<Token> {
    let pair = field.to_str().ok()?.split(';').next()?;
    let (name, value) = pair.split_once('=')?;
    if name.trim() == SESSION_COOKIE { Token::new(value).ok() } else { None }
}

/// The base without a slash at its end, and without `/api`, since each path starts with that; and its origin.
fn normalised(base: &str) -> Result<(String, Origin), &'static str> {
    let uri: Uri = base.parse().map_err(|_| "it is not a URL")?;
    let scheme = uri.scheme_str().and_then(|scheme| scheme.parse::<Scheme>().ok());
    let scheme = scheme.ok_or("it begins with neither http:// nor https://")?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("it must not contain a user name or password");
    }
    let server = format!("{scheme}://{authority}");
    let address: ProxyAddress = server.parse().map_err(|_| "it names no host")?;
    if uri.query().is_some() {
        return Err("it has a query");
    }
    let path = uri.path().trim_end_matches('/');
    let path = path.strip_suffix("/api").unwrap_or(path);
    Ok((server + path, address.or_port(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One thread serves all here, so the other task runs only if that thread is not held up.
    #[cfg(feature = "gateway")]
    #[test]
    fn a_long_answer_is_parsed_beside_the_thread_that_serves() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let parsing = async {
            let (tell, told) = std::sync::mpsc::channel();
            tokio::spawn(async move { tell.send(()) });
            Pooled::new("http://head").unwrap().apart(|| told.recv_timeout(Duration::from_secs(30)))
        };
        assert_eq!(runtime.block_on(async { tokio::spawn(parsing).await.unwrap() }), Ok(()));
    }

    #[test]
    fn the_address_of_an_api() {
        for (base, expected) in [
            ("http://head:8000", Ok("http://head:8000")),
            ("http://head:8000/", Ok("http://head:8000")),
            ("http://head:8000/api", Ok("http://head:8000")),
            ("http://head:8000/api/", Ok("http://head:8000")),
            ("http://head/river", Ok("http://head/river")),
            ("http://[::1]:8000", Ok("http://[::1]:8000")),
            ("https://head:8443/api", Ok("https://head:8443")),
            ("head:8000", Err("it begins with neither http:// nor https://")),
            ("ftp://head", Err("it begins with neither http:// nor https://")),
            ("http://user:pw@head", Err("it must not contain a user name or password")),
            ("http://head/?x", Err("it has a query")),
            ("http://", Err("it is not a URL")),
            ("http://he ad", Err("it is not a URL")),
            ("", Err("it is not a URL")),
        ] {
            let normal = normalised(base).map(|(normal, _)| normal);
            assert_eq!(normal.as_deref().map_err(|why| *why), expected, "{base}");
        }
    }

    /// All large answers of a client together take the memory of a few.
    #[cfg(feature = "gateway")]
    #[tokio::test]
    async fn a_large_answer_takes_a_turn_and_small_ones_wait_for_none() {
        let host = crate::api::fake_host::FakeHost::start().await;
        host.on("/large", 200, "7".repeat(2 * LARGE_BODY)).on("/small", 200, "7");
        let client = Client::new(&host.base, None).unwrap();
        let apart = client.apart();
        let (transport, turns) = (&apart.shared.transport, &apart.shared.transport.large);
        assert!(!Arc::ptr_eq(turns, &client.shared.transport.large));
        let large = transport.send(ApiRequest::get("/large", None)).await.unwrap();
        assert!(large.turn.is_some() && turns.available_permits() == 0);
        let small = transport.send(ApiRequest::get("/small", None)).await.unwrap();
        assert!(small.turn.is_none());
        drop(large);
        assert_eq!(turns.available_permits(), 1);
    }
}
