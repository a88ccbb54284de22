//! HTTP as a run sees it: requests to granted URLs, each over a connection of its own to an address that was checked.
//!
//! A name is looked up once and the connection goes to the very address that was checked, so a name that changes in between gains nothing.
//! Redirects are not followed: the guest sees them, and what they name must be granted too.

use crate::Grants;
use crate::failure::Denials;
use crate::grants::{canonical_host, port_of};
use crate::lookup::Lookup;
use crate::sockets::Opened;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, timeout};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Bytes of a body, in each direction.
const BODY_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a response's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long connecting, with TLS, may take, and the first byte and the next one, unless the guest asks for less. The run's wall time ends all.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A run's way to HTTP servers.
pub(crate) struct Http {
    pub(crate) grants: Arc<Grants>,
    pub(crate) denials: Arc<Denials>,
    pub(crate) opened: Arc<Opened>,
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Done), Error>;

impl WasiHttpHooks for Http {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Done,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        // A tunnel through a granted server would lead anywhere.
        if request.method() == Method::CONNECT {
            return Box::new(std::future::ready(Err(Error::HttpRequestMethodInvalid)));
        }
        match self.granted(request.uri()) {
            Err(error) => Box::new(std::future::ready(Err(error))),
            Ok(to) => {
                let waits = Waits::new(options);
                Box::new(exchange(to, request, waits, self.grants.clone(), self.denials.clone()))
            }
        }
    }
}

/// Where a request goes.
struct Destination {
    https: bool,
    host: String,
    port: u16,
    lookup: Arc<dyn Lookup>,
    tls: Arc<rustls::ClientConfig>,
}

impl Http {
    fn granted(&self, uri: &Uri) -> Result<Destination, Error> {
        let scheme = uri.scheme_str().ok_or(Error::HttpRequestUriInvalid)?;
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let port = port_of(authority, if https { 443 } else { 80 }).ok_or(Error::HttpRequestUriInvalid)?;
        let host = authority.host();
        if authority.as_str().contains('@') || !self.grants.url_allows(scheme, host, port, uri.path()) {
            let shown = crate::lines::clean(&format!("{scheme}://{host}:{port}{}", uri.path()));
            self.denials.add(|| format!("was refused a request to {shown}, which allow.urls does not grant"));
            return Err(Error::HttpRequestDenied);
        }
        if !self.opened.take(&self.denials) {
            return Err(Error::ConnectionLimitReached);
        }
        let (lookup, tls) = (self.lookup.clone(), self.tls.clone());
        Ok(Destination { https, host: canonical_host(host), port, lookup, tls })
    }
}

struct Waits {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Waits {
    fn new(options: Option<RequestOptions>) -> Waits {
        let options = options.unwrap_or_default();
        let bounded = |wait: Option<Duration>| wait.unwrap_or(WAIT_MAX).min(WAIT_MAX);
        Waits {
            connect: bounded(options.connect_timeout),
            first_byte: bounded(options.first_byte_timeout),
            between_bytes: bounded(options.between_bytes_timeout),
        }
    }
}

async fn exchange(
    to: Destination,
    mut request: Request<WasiBody>,
    waits: Waits,
    grants: Arc<Grants>,
    denials: Arc<Denials>,
) -> Sent {
    let connecting = async {
        let stream = connect(&to, &grants, &denials).await?;
        let stream: Box<dyn Stream> = match to.https {
            false => Box::new(stream),
            true => Box::new(encrypt(&to, stream).await?),
        };
        let mut http = hyper::client::conn::http1::Builder::new();
        let http = http.max_buf_size(HEAD_BYTES_MAX);
        Ok::<_, Error>(http.handshake::<_, WasiBody>(TokioIo::new(stream)).await?)
    };
    let (mut sender, connection) = timeout(waits.connect, connecting).await.map_err(|_| Error::ConnectionTimeout)??;
    // The task ends when the guest drops the response, and with the run.
    let driver = wasmtime_wasi::runtime::spawn(connection);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    let request = request.map(|body| Counted::new(body, None, Error::HttpRequestBodySize).boxed_unsync());
    let response = timeout(waits.first_byte, sender.send_request(request)).await;
    let response = response.map_err(|_| Error::ConnectionReadTimeout)??;
    let response = response.map(|body| {
        let body = body.map_err(Error::from);
        Counted::new(body, Some(waits.between_bytes), Error::HttpResponseBodySize).boxed_unsync()
    });
    Ok((response, Box::new(async move { Ok(driver.await?) })))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to the first address of the name that may be connected to and answers.
async fn connect(to: &Destination, grants: &Grants, denials: &Denials) -> Result<TcpStream, Error> {
    let addresses = match to.host.parse::<IpAddr>() {
        Ok(ip) => vec![ip],
        Err(_) => to.lookup.lookup(&to.host).await.map_err(|_| Error::DnsError { rcode: None, info_code: None })?,
    };
    let mut last = Error::DestinationNotFound;
    for ip in addresses {
        let address = SocketAddr::new(ip.to_canonical(), to.port);
        if let Some(why) = refused(&to.host, address, grants) {
            denials.add(|| format!("was refused a request to {}: its address {address} {why}", to.host));
            last = Error::DestinationIpProhibited;
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Error::Connect(error),
        }
    }
    Err(last)
}

/// Why a request to `host` must not go to this address. Network grants, where there are any, decide alone; otherwise addresses that mean this
/// host or its cloud's metadata are only for URLs that name them.
fn refused(host: &str, address: SocketAddr, grants: &Grants) -> Option<&'static str> {
    if !grants.network.is_empty() {
        return (!grants.network_allows(address)).then_some("is not within allow.network");
    }
    let ip = address.ip();
    let literal = host.parse::<IpAddr>().is_ok_and(|named| named.to_canonical() == ip);
    let localhost = host == "localhost" && ip.is_loopback();
    (is_special(ip) && !literal && !localhost)
        .then_some("is a loopback, link-local, multicast or unspecified one, which a name must not lead to unless allow.network grants it")
}

fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0
        }
        IpAddr::V6(ip) => {
            // 64:ff9b::/96 (RFC 6052): a translator sends it on to the IPv4 address in its last 32 bits.
            let [a, b, 0, 0, 0, 0, high, low] = ip.segments() else { return v6_is_special(ip) };
            let inner = Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
            v6_is_special(ip) || (a == 0x64 && b == 0xff9b && is_special(IpAddr::V4(inner)))
        }
    }
}

fn v6_is_special(ip: std::net::Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()
}

async fn encrypt(to: &Destination, stream: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
    let name = rustls::pki_types::ServerName::try_from(to.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    tokio_rustls::TlsConnector::from(to.tls.clone()).connect(name, stream).await.map_err(Error::Tls)
}

/// A body of at most [`BODY_BYTES_MAX`], with a longest pause.
struct Counted<B> {
    body: B,
    left: u64,
    pause: Option<(Duration, Pin<Box<Sleep>>)>,
    too_large: fn(Option<u64>) -> Error,
}

impl<B> Counted<B> {
    fn new(body: B, pause: Option<Duration>, too_large: fn(Option<u64>) -> Error) -> Counted<B> {
        let pause = pause.map(|pause| (pause, Box::pin(tokio::time::sleep(pause))));
        Counted { body, left: BODY_BYTES_MAX, pause, too_large }
    }
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            return match &mut self.pause {
                Some((_, sleep)) => sleep.as_mut().poll(cx).map(|()| Some(Err(Error::ConnectionReadTimeout))),
                None => Poll::Pending,
            };
        };
        if let Some((pause, sleep)) = &mut self.pause {
            sleep.as_mut().reset(tokio::time::Instant::now() + *pause);
        }
        let size = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => 0,
        };
        match self.left.checked_sub(size) {
            Some(left) => {
                self.left = left;
                Poll::Ready(frame)
            }
            None => Poll::Ready(Some(Err((self.too_large)(Some(BODY_BYTES_MAX))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
