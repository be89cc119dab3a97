// Package genesyssdk implements genesys.Source with the official Genesys Cloud Go SDK.
// The SDK sends the two requests: AuthorizeClientCredentials gets the token, and
// CallAPI gets the connection details. The Client of package genesys does everything
// else.
//
// The package is a module of its own because some module mirrors do not serve the SDK. It
// does not read the SDK's configuration files, and does not let the SDK refresh a
// token or retry a request. The SDK is not safe for concurrent use, so calls share
// nothing that the SDK writes to.
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

// New makes a Client that sends its requests with the SDK. It checks and uses every
// option as genesys.New does, and sends no request.
func New(o genesys.Options) (*genesys.Client, error) {
	return genesys.NewWithRequester(o, requester{clientID: o.ClientID, clientSecret: o.ClientSecret, scope: o.Scope})
}

// requester sends the requests with the SDK.
type requester struct{ clientID, clientSecret, scope string }

var _ genesys.Requester = requester{}

// Token implements genesys.Requester.
func (r requester) Token(ctx context.Context, hc *http.Client, address string) (*oauth2.Token, error) {
	config, err := configurationFor(&httpClient{ctx: ctx, client: hc, address: address, scope: r.scope})
	if err != nil {
		return nil, err
	}
	// The SDK needs a valid URL here, but httpClient sends the request to the address.
	config.BasePath = strings.TrimSuffix(address, "/oauth/token")
	// RFC 6749, 2.3.1, requires both to be encoded, but the SDK does not encode them.
	id, secret := url.QueryEscape(r.clientID), url.QueryEscape(r.clientSecret)
	if err := withoutPanic(func() error { return config.AuthorizeClientCredentials(id, secret) }); err != nil {
		return nil, err
	}
	token := &oauth2.Token{AccessToken: config.AccessToken}
	if config.AccessTokenExpiresIn > 0 {
		seconds := min(config.AccessTokenExpiresIn, math.MaxInt32) // a time.Duration overflows after 292 years
		token.Expiry = time.Now().Add(time.Duration(seconds) * time.Second)
	}
	return token, nil
}

// Get implements genesys.Requester.
func (requester) Get(ctx context.Context, hc *http.Client, address string, token *oauth2.Token) error {
	config, err := configurationFor(&httpClient{ctx: ctx, client: hc, address: address})
	if err != nil {
		return err
	}
	header := map[string]string{"Accept": "application/json", "Authorization": token.Type() + " " + token.AccessToken}
	return withoutPanic(func() error {
		_, err := config.APIClient.CallAPI(address, http.MethodGet, nil, header, nil, nil, "", nil, "")
		return err
	})
}

// withoutPanic turns a panic of the SDK into an error. A server can cause one: the SDK
// decodes the body null into a nil pointer and dereferences it.
func withoutPanic(call func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the Genesys SDK panicked: %v", reason)
		}
	}()
	return call()
}
