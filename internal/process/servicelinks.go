package process

import "regexp"

// serviceLink matches the variables that Kubernetes puts into every container for
// a Service whose name begins with fanout, in the form that Docker's links had. The
// name of the Service follows FANOUT_ in upper case, and is missing for a Service
// named fanout. A port has a name only if the Service gives it one.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var serviceLink = regexp.MustCompile(`^FANOUT_([A-Z0-9]([A-Z0-9_]*[A-Z0-9])?_)?` +
	`(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]*[A-Z0-9])?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)
