package activities

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"genesys-fanout/target"
)

const (
	// transportAge is how long new requests go to the same transport, plus or minus the part
	// ageSpread of it. No DNS lookup is made for a kept-alive connection. So a target that has
	// moved to other addresses would otherwise get its requests at the old address until the
	// target gets no more requests. Because of the spread, processes that started together do
	// not connect together.
	transportAge = 10 * time.Minute
	ageSpread    = 0.1

	// If nothing was received on an HTTP/2 connection for pingAfter, the transport sends a
	// ping, and closes the connection if no answer comes within pingTimeout. All requests of
	// a target share one such connection. If it is dead, for example because a load balancer
	// has dropped it without RST or FIN, each of them would otherwise wait for its timeout.
	pingAfter   = 15 * time.Second
	pingTimeout = 5 * time.Second

	// tlsSessions is how many TLS sessions of one target are cached for resumption. The cache
	// is keyed by the server's name, and a target has only one.
	tlsSessions = 4
)

// connections are the HTTP connections of this process to one target. Both lanes use them. New
// requests go to the current transport, which is replaced from time to time. A request in flight
// ends on the transport on which it began. The connections of a replaced transport are closed
// when its last request has ended.
type connections struct {
	newTransport func() *http.Transport
	now          func() time.Time

	mu      sync.Mutex
	current *transport // if nil, the next request makes one
}

// transport is an http.Transport and the number of requests in flight on it.
type transport struct {
	*http.Transport
	client    *http.Client
	replaceAt time.Time
	inFlight  int
	retired   bool
}

// beginRequest returns the transport for one request. The caller calls endRequest after it has
// closed the response's body.
func (c *connections) beginRequest() *transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.current != nil && !now.Before(c.current.replaceAt) {
		c.retire()
	}
	if c.current == nil {
		age := float64(transportAge) * (1 + ageSpread*(2*rand.Float64()-1))
		made := c.newTransport()
		c.current = &transport{
			Transport: made,
			client:    &http.Client{Transport: noRedirects{made}},
			replaceAt: now.Add(time.Duration(age)),
		}
	}
	c.current.inFlight++
	return c.current
}

// endRequest ends a request on its transport.
func (c *connections) endRequest(t *transport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.inFlight--
	t.closeIfUnused()
}

// replace makes the next request use a new transport, and thus a new connection.
func (c *connections) replace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retire()
}

func (c *connections) retire() {
	if c.current != nil {
		c.current.retired = true
		c.current.closeIfUnused()
		c.current = nil
	}
}

// closeIfUnused closes the connections of a retired transport that has no request in flight. It
// waits for the last request, because a connection that was chosen for a request and has not
// sent it yet counts as idle. A connection that becomes idle later closes by itself.
func (t *transport) closeIfUnused() {
	if t.retired && t.inFlight == 0 {
		go t.CloseIdleConnections() // a peer that does not read can delay it for seconds
	}
}

// network makes the connections of every target.
type network struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	tls  *tls.Config // cloned for each target
	now  func() time.Time

	mu       sync.Mutex
	byTarget map[string]*connections
}

func newNetwork() *network {
	return &network{
		dial:     (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		tls:      &tls.Config{MinVersion: tls.VersionTLS12},
		now:      time.Now,
		byTarget: make(map[string]*connections),
	}
}

// connectionsTo returns the connections to a target.
func (n *network) connectionsTo(t *target.Target) *connections {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.byTarget[t.Name()]
	if c == nil {
		config := n.tls.Clone()
		config.ClientSessionCache = tls.NewLRUClientSessionCache(tlsSessions) // one for all transports of the target
		c = &connections{now: n.now, newTransport: func() *http.Transport { return n.transport(t, config.Clone()) }}
		n.byTarget[t.Name()] = c
	}
	return c
}

// transport makes a transport for one target. It keeps at most max_concurrency idle
// connections, because there are never more requests in flight. A connection takes about 20 KB,
// or 40 KB with TLS.
func (n *network) transport(t *target.Target, config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         n.dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConns:        t.MaxConcurrency,
		MaxIdleConnsPerHost: t.MaxConcurrency,
		// Many servers and load balancers close an idle connection after 60 s. We close it
		// earlier, so that no request is sent on a connection that the other side closes.
		IdleConnTimeout:    50 * time.Second,
		DisableCompression: true, // the answer's body is not used
	}
}

// noRedirects is an http.RoundTripper after which http.Client follows no redirect. A redirect is
// an answer like any other: if the POST followed it, the event would be delivered to a target
// that nobody configured.
type noRedirects struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (n noRedirects) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := n.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	// Without a Location, http.Client follows no redirect. If it cannot parse the Location, it
	// fails, and the answer would count as a failure of the connection.
	response.Header.Del("Location")
	if response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close() // the body is the connection itself, and the end of ctx does not close it
		response.Body = http.NoBody
	}
	return response, nil
}
