package process

import "regexp"

// serviceLink matches the variables that Kubernetes sets in every container for a Service
// whose name begins with fanout. They have the form of Docker's container links. The rest of
// the Service's name follows FANOUT_ in upper case; the variables of a Service named fanout
// have none. A port has a name only if the Service gives it one.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var serviceLink = regexp.MustCompile(`^FANOUT_([A-Z0-9]([A-Z0-9_]*[A-Z0-9])?_)?` +
	`(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]*[A-Z0-9])?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)
