package genesys

import (
	"context"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Requester sends the requests of a Client. New uses golang.org/x/oauth2 and
// net/http; the module genesyssdk uses the Genesys SDK. Each call sends one request
// through hc, and only through hc, and ends with ctx. Calls may be concurrent.
//
// The Client records each answer on its way through hc and judges it by itself. It
// looks at the error of a Requester only if no answer came, or if a 2xx answer could
// not be parsed.
type Requester interface {
	// Token requests a token from the address with client credentials (RFC 6749, 4.4).
	Token(ctx context.Context, hc *http.Client, address string) (*oauth2.Token, error)
	// Get requests JSON from the address with the token.
	Get(ctx context.Context, hc *http.Client, address string, token *oauth2.Token) error
}

// oauthRequester is the Requester that does not need the Genesys SDK.
type oauthRequester struct{ clientID, clientSecret, scope string }

// Token implements Requester.
func (r oauthRequester) Token(ctx context.Context, hc *http.Client, address string) (*oauth2.Token, error) {
	config := clientcredentials.Config{
		ClientID: r.clientID, ClientSecret: r.clientSecret, Scopes: strings.Fields(r.scope),
		TokenURL: address, AuthStyle: oauth2.AuthStyleInHeader,
	}
	return config.Token(context.WithValue(ctx, oauth2.HTTPClient, hc))
}

// Get implements Requester.
func (oauthRequester) Get(ctx context.Context, hc *http.Client, address string, token *oauth2.Token) error {
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
