// Package platformclientv2 is a stand-in for the package of that name in the Genesys
// Cloud Go SDK. It is not part of the SDK and contains none of its code. It has the few
// names that genesyssdk uses, with their signatures, and behaves like the SDK as far as
// a caller can see, faults included:
//
//   - A 429, and a 5xx other than 501, becomes a nil response and the error
//     "giving up after 1 attempt(s)". Any other failure with a JSON body becomes a
//     response and an error.
//   - A request times out after 16 s, and no context can end it earlier.
//   - Redirects are followed.
//   - Nothing is safe for concurrent use: a call writes to its client, and making a
//     Configuration writes to package variables that every call reads.
//   - A failure or a token whose body is null causes a panic.
//
// It does not retry, read configuration files or refresh tokens. It is for tests only:
// nothing but standin.work puts it in the SDK's place.
package platformclientv2
