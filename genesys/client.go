package genesys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

// Client reads the connection details from Genesys Cloud. It keeps its token
// between calls and is safe for concurrent use.
type Client struct {
	urls      endpoints
	http      *http.Client
	requester Requester
	log       *slog.Logger
	// redact removes the client secret; redactor adds the secrets received since.
	redact redactor

	flight singleflight.Group
	mu     sync.Mutex // guards the fields below
	cached cachedToken
	// The newest token and Kafka password that were received, for redactor.
	lastToken, lastPassword string
}

var (
	_ Source            = (*Client)(nil)
	_ IntegrationSource = (*Client)(nil)
)

// New checks the options and makes a Client. It sends no request. Its error has
// one line for each wrong setting, "VARIABLE: what is wrong; cure".
func New(o Options) (*Client, error) {
	return NewWithRequester(o, oauthRequester{clientID: o.ClientID, clientSecret: o.ClientSecret, scope: o.Scope})
}

// NewWithRequester is New with another way to send the requests.
func NewWithRequester(o Options, requester Requester) (*Client, error) {
	urls, err := o.endpoints()
	if err != nil {
		return nil, err
	}
	c := &Client{
		urls:      urls,
		http:      withoutRedirects(o.HTTPClient),
		requester: requester,
		log:       o.Logger,
		redact:    redactor{}.withClient(o.ClientID, o.ClientSecret),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// withoutRedirects returns a copy of the HTTP client that does not follow
// redirects, because the credentials must reach the configured hosts only.
func withoutRedirects(given *http.Client) *http.Client {
	if given == nil {
		given = &http.Client{}
	}
	hc := *given
	if hc.Transport == nil {
		hc.Transport = http.DefaultTransport
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &hc
}

// String names the API host.
func (c *Client) String() string { return "genesys client of " + c.urls.details.Host }

// Format prints String for every verb, so that no verb shows the secret or the token.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// ConnectionDetails reads the connection details with the cached token, or with a
// new one if none is cached. If the API answers a cached token with 401, it tries
// once more with a new token. The error is a *RejectedError, a *TransientError, or wraps the
// cause of the end of ctx.
func (c *Client) ConnectionDetails(ctx context.Context) (ConnectionDetails, error) {
	got, redact, err := c.get(ctx, c.urls.details)
	if err != nil {
		return ConnectionDetails{}, err
	}
	details, err := readDetails(got, requestName(http.MethodGet, c.urls.details), redact)
	if err == nil {
		c.mu.Lock()
		c.lastPassword = details.SASLPassword
		c.mu.Unlock()
	}
	return details, err
}

// get requests an address of the API with the cached token, or with a new one.
// redact removes the secrets of this request from texts of the answer.
func (c *Client) get(ctx context.Context, address *url.URL) (got *answer, redact redactor, err error) {
	token, fresh, err := c.token(ctx)
	if err != nil {
		return nil, redact, err
	}
	got, err = c.getOnce(ctx, address, token)
	if err == nil && got.status == http.StatusUnauthorized && !fresh {
		c.forget(token)
		c.log.DebugContext(ctx, "Genesys Cloud rejected the cached token; requesting a new one")
		if token, _, err = c.token(ctx); err == nil {
			got, err = c.getOnce(ctx, address, token)
		}
	}
	if err != nil {
		return nil, redact, err
	}
	return got, c.redactor().with(token.AccessToken), nil
}

// redactor removes every secret that the client has.
func (c *Client) redactor() redactor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.redact.with(c.lastToken, c.lastPassword)
}

func (c *Client) getOnce(ctx context.Context, address *url.URL, token *oauth2.Token) (*answer, error) {
	about := requestInfo{name: requestName(http.MethodGet, address), hostSetting: apiURLSetting, redact: c.redactor().with(token.AccessToken)}
	return c.send(ctx, about, func(ctx context.Context, hc *http.Client) error {
		return c.requester.Get(ctx, hc, address.String(), token)
	})
}

// requestInfo is what an error says about a request.
type requestInfo struct {
	name        string // method and path
	hostSetting string // the setting that names the host
	redact      redactor
}

// send makes one request within requestTimeout and returns the answer. It fails
// only if no answer came: the error is a *TransientError or wraps the cause of the end
// of ctx.
func (c *Client) send(ctx context.Context, about requestInfo, request func(context.Context, *http.Client) error) (*answer, error) {
	hc := *c.http
	rec := &recorder{next: hc.Transport}
	hc.Transport = rec
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := request(bounded, &hc)
	switch {
	case rec.answer != nil:
		return rec.answer, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("genesys: %s: %w", about.name, context.Cause(ctx))
	case err == nil:
		err = errors.New("the requester sent nothing through the HTTP client that it was given")
	}
	cause := about.redact.err(err)
	return nil, &TransientError{Request: about.name, Message: about.redact.text(cause.Error()), Cure: connectionCure(err, about.hostSetting), Err: cause}
}

func requestName(method string, u *url.URL) string { return method + " " + u.EscapedPath() }
