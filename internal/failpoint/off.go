//go:build !failpoints

package failpoint

// Reach does nothing, because this binary has no failpoints.
func Reach(Name) {}
