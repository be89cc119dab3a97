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
	urls   endpoints
	http   *http.Client
	caller Caller
	log    *slog.Logger
	// secret cleans texts of the client's secret.
	secret redactor

	flight singleflight.Group
	mu     sync.Mutex // guards what follows
	cached cachedToken
	// The newest token and Kafka password that were received, for redactor.
	lastToken, lastPassword string
}

var (
	_ Source            = (*Client)(nil)
	_ IntegrationSource = (*Client)(nil)
)

// New checks the options and makes a Client; it connects to nothing. Its error
// has one line per wrong setting, "VARIABLE: what is wrong; cure".
func New(o Options) (*Client, error) {
	return NewWith(o, plain{id: o.ClientID, secret: o.ClientSecret, scope: o.Scope})
}

// NewWith is New with another Caller.
func NewWith(o Options, caller Caller) (*Client, error) {
	urls, err := o.endpoints()
	if err != nil {
		return nil, err
	}
	c := &Client{
		urls:   urls,
		http:   httpClient(o.HTTPClient),
		caller: caller,
		log:    o.Logger,
		secret: redactor{}.withClient(o.ClientID, o.ClientSecret),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// httpClient is a copy that hands redirects back: the credentials go to the
// configured hosts only.
func httpClient(given *http.Client) *http.Client {
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

// Format prints String for every verb, so that none shows secret or token.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// ConnectionDetails asks for the connection details with the cached token, or
// a new one. A 401 to a cached token is answered with one fresh token. Errors:
// *Refusal, *Temporary, or one that wraps the end of ctx.
func (c *Client) ConnectionDetails(ctx context.Context) (ConnectionDetails, error) {
	got, clean, err := c.get(ctx, c.urls.details)
	if err != nil {
		return ConnectionDetails{}, err
	}
	details, err := readDetails(got, requestName(http.MethodGet, c.urls.details), clean)
	if err == nil {
		c.mu.Lock()
		c.lastPassword = details.SASLPassword
		c.mu.Unlock()
	}
	return details, err
}

// get asks the API for an address with the cached token, or a new one; clean is
// for texts of the answer.
func (c *Client) get(ctx context.Context, address *url.URL) (got *answer, clean redactor, err error) {
	token, fresh, err := c.token(ctx)
	if err != nil {
		return nil, clean, err
	}
	got, err = c.ask(ctx, address, token)
	if err == nil && got.status == http.StatusUnauthorized && !fresh {
		c.forget(token)
		c.log.DebugContext(ctx, "Genesys refused the cached token, asking for a fresh one")
		if token, _, err = c.token(ctx); err == nil {
			got, err = c.ask(ctx, address, token)
		}
	}
	if err != nil {
		return nil, clean, err
	}
	return got, c.redactor().with(token.AccessToken), nil
}

// redactor cleans texts of every secret that the client holds.
func (c *Client) redactor() redactor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.secret.with(c.lastToken, c.lastPassword)
}

func (c *Client) ask(ctx context.Context, address *url.URL, token *oauth2.Token) (*answer, error) {
	ask := question{request: requestName(http.MethodGet, address), setting: apiURLSetting, clean: c.redactor().with(token.AccessToken)}
	return c.exchange(ctx, ask, func(ctx context.Context, hc *http.Client) error {
		return c.caller.Get(ctx, hc, address.String(), token)
	})
}

// question is what an error says about a request: its method and path, and the
// setting that its host comes from.
type question struct {
	request, setting string
	clean            redactor
}

// exchange makes one request within requestTimeout and gives the answer. Its
// errors are that none came: a *Temporary, or the end of ctx.
func (c *Client) exchange(ctx context.Context, ask question, send func(context.Context, *http.Client) error) (*answer, error) {
	hc := *c.http
	rec := &recorder{next: hc.Transport}
	hc.Transport = rec
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := send(bounded, &hc)
	switch {
	case rec.answer != nil:
		return rec.answer, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("genesys: %s: %w", ask.request, context.Cause(ctx))
	case err == nil:
		err = errors.New("the caller made no request through the client that it was given")
	}
	cause := ask.clean.cause(err)
	return nil, &Temporary{Request: ask.request, Message: ask.clean.clean(cause.Error()), Cure: connectionCure(err, ask.setting), Err: cause}
}

func requestName(method string, u *url.URL) string { return method + " " + u.EscapedPath() }
