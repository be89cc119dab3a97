package genesys

import (
	"context"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Caller makes the requests of a Client: New's over golang.org/x/oauth2, or
// that of the module genesyssdk over the Genesys SDK. Each call makes one
// request, through hc alone and within ctx; calls may come at the same time.
//
// The Client judges the answer itself, as it passed hc. A Caller's error counts
// where no answer came, and where a granted answer could not be read.
type Caller interface {
	// Token asks at the address for a token by client credentials (RFC 6749, 4.4).
	Token(ctx context.Context, hc *http.Client, address string) (*oauth2.Token, error)
	// Get asks at the address with the token, for JSON.
	Get(ctx context.Context, hc *http.Client, address string, token *oauth2.Token) error
}

// plain is the Caller without the SDK.
type plain struct{ id, secret, scope string }

// Token implements Caller.
func (p plain) Token(ctx context.Context, hc *http.Client, address string) (*oauth2.Token, error) {
	config := clientcredentials.Config{
		ClientID: p.id, ClientSecret: p.secret, Scopes: strings.Fields(p.scope),
		TokenURL: address, AuthStyle: oauth2.AuthStyleInHeader,
	}
	return config.Token(context.WithValue(ctx, oauth2.HTTPClient, hc))
}

// Get implements Caller.
func (plain) Get(ctx context.Context, hc *http.Client, address string, token *oauth2.Token) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	token.SetAuthHeader(req)
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
