package genesyssdk

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mypurecloud/platform-client-sdk-go/v188/platformclientv2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests below check the behaviour of the SDK itself on which this package relies.
// They pass with the SDK and with its stand-in.

// newSDK returns a Configuration that no other test uses.
func newSDK() *platformclientv2.Configuration {
	config := *defaultConfiguration()
	config.APIClient = platformclientv2.APIClient{}
	config.APIClient = platformclientv2.NewAPIClient(&config)
	return &config
}

func TestSDK_HidesTheAnswerOfATransientFailure(t *testing.T) {
	for status, hidden := range map[int]bool{429: true, 500: true, 503: true, 400: false, 403: false, 404: false} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.Header().Set("ININ-Correlation-Id", "corr-1")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"message":"no","code":"c","contextId":"ctx-1"}`))
		}))
		t.Cleanup(server.Close)
		response, err := newSDK().APIClient.CallAPI(server.URL, http.MethodGet, nil, nil, nil, nil, "", nil, "")
		require.Error(t, err, status)
		if hidden {
			assert.Nil(t, response, status)
			assert.ErrorContains(t, err, "giving up after 1 attempt(s)")
			continue
		}
		require.NotNil(t, response, status)
		assert.Equal(t, status, response.StatusCode)
		assert.Equal(t, "corr-1", response.CorrelationID)
		assert.Equal(t, "ctx-1", response.Error.ContextID)
	}
}

func TestSDK_DerivesTheTokenAddressFromBasePath(t *testing.T) {
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		id, secret, _ := r.BasicAuth()
		assert.Equal(t, "id secret+", id+" "+secret, "the SDK encodes neither id nor secret")
		_, _ = w.Write([]byte(`{"access_token":"t","expires_in":60}`))
	}))
	t.Cleanup(server.Close)
	config := newSDK()
	config.BasePath = server.URL + "/prefix"
	require.NoError(t, config.AuthorizeClientCredentials("id", "secret+"))
	assert.Equal(t, "/prefix/oauth/token", asked)
	assert.Equal(t, "t", config.AccessToken)
	assert.Equal(t, 60, config.AccessTokenExpiresIn)
}

func TestSDK_TimesOutAfterSixteenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		testEnds := make(chan struct{})
		defer close(testEnds)
		config := newSDK()
		config.APIClient.GetHttpClient().SetTransport(&http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				<-testEnds
				return nil, net.ErrClosed
			},
		})
		begin := time.Now()
		_, err := config.APIClient.CallAPI("http://127.0.0.1:1", http.MethodGet, nil, nil, nil, nil, "", nil, "")
		require.Error(t, err)
		assert.Equal(t, 16*time.Second, time.Since(begin))
	})
}

// The genesys.Client refreshes the token. The SDK must not, because it panics if a
// refresh fails.
func TestSDK_DoesNotRefreshTokens(t *testing.T) {
	assert.False(t, defaultConfiguration().AutomaticTokenRefresh)
}
