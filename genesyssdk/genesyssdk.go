// Package genesyssdk is genesys.Source on the official Genesys Cloud Go SDK:
// the SDK makes the two requests, a token by AuthorizeClientCredentials and the
// connection details by CallAPI. All else is the Client of package genesys.
//
// The package stands in a module of its own, since some module mirrors refuse
// the SDK. It reads none of the SDK's configuration files, lets the SDK refresh
// no token and retry no request, and refuses to share anything that a call
// writes to, for the SDK is not safe for concurrent use.
package genesyssdk

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"genesys-fanout/genesys"
)

// New checks the options as genesys.New does, every one of them is respected,
// and makes a Client over the SDK; it connects to nothing.
func New(o genesys.Options) (*genesys.Client, error) {
	return genesys.NewWith(o, caller{id: o.ClientID, secret: o.ClientSecret, scope: o.Scope})
}

// caller makes the requests through the SDK.
type caller struct{ id, secret, scope string }

var _ genesys.Caller = caller{}

// Token implements genesys.Caller.
func (c caller) Token(ctx context.Context, hc *http.Client, address string) (*oauth2.Token, error) {
	config, err := configuration(&httpClient{ctx: ctx, client: hc, address: address, scope: c.scope})
	if err != nil {
		return nil, err
	}
	// Only this host is asked, whatever the SDK makes of it: see httpClient.
	config.BasePath = strings.TrimSuffix(address, "/oauth/token")
	// The SDK encodes neither, which RFC 6749, 2.3.1, asks for.
	id, secret := url.QueryEscape(c.id), url.QueryEscape(c.secret)
	if err := guarded(func() error { return config.AuthorizeClientCredentials(id, secret) }); err != nil {
		return nil, err
	}
	token := &oauth2.Token{AccessToken: config.AccessToken}
	if config.AccessTokenExpiresIn > 0 {
		seconds := min(config.AccessTokenExpiresIn, math.MaxInt32) // a Duration holds no more than 292 years
		token.Expiry = time.Now().Add(time.Duration(seconds) * time.Second)
	}
	return token, nil
}

// Get implements genesys.Caller.
func (caller) Get(ctx context.Context, hc *http.Client, address string, token *oauth2.Token) error {
	config, err := configuration(&httpClient{ctx: ctx, client: hc, address: address})
	if err != nil {
		return err
	}
	header := map[string]string{"Accept": "application/json", "Authorization": token.Type() + " " + token.AccessToken}
	return guarded(func() error {
		_, err := config.APIClient.CallAPI(address, http.MethodGet, nil, header, nil, nil, "", nil, "")
		return err
	})
}

// guarded turns a panic of the SDK into an error. There is one within reach of
// a server: the SDK reads the body null as a nil pointer and follows it.
func guarded(call func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the Genesys SDK panicked: %v", reason)
		}
	}()
	return call()
}
