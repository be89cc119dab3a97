// Package platformclientv2 is a stand-in for the package of that name in the
// Genesys Cloud Go SDK. It is no part of the SDK and holds none of its code: it
// has the few names that genesyssdk uses, with their signatures, and behaves as
// they do where a caller can tell, faults included:
//
//   - A 429, and a 5xx other than 501, is a nil response and the error
//     "giving up after 1 attempt(s)". Any other failure with a JSON body is a
//     response and an error.
//   - A request ends after 16 s, and no context ends it earlier.
//   - Redirects are followed.
//   - Nothing is safe for concurrent use: a call writes to its client, and making
//     a Configuration writes to package variables that every call reads.
//   - The body null of a failure, or of a token, is a panic.
//
// It refuses to retry, to read configuration files, to refresh tokens and to be
// used outside tests: only standin.work puts it in the SDK's place.
package platformclientv2
