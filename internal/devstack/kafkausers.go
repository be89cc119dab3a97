package devstack

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// account is a user of the broker.
type account struct{ name, password string }

// superuser is the user as which this package connects to a broker with KafkaOptions.ACLs.
const superuser = "admin"

// users returns the broker's users. The first one has all rights, and this package connects as it.
func (k *Kafka) users() []account {
	user := account{k.options.Username, k.Password()}
	if !k.options.ACLs {
		return []account{user}
	}
	return []account{{superuser, k.adminPassword}, user}
}

// The parameters of SCRAM-SHA-512 (RFC 5802, RFC 7677). The iterations are the fewest that Kafka
// accepts.
const (
	scramSHA512     = int8(2) // Kafka's number of the mechanism
	scramIterations = 4096
	scramSaltBytes  = 24
)

// SetPassword changes the user's password. The broker then rejects the old password and breaks all
// connections that were made with it.
func (k *Kafka) SetPassword(ctx context.Context, password string) error {
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for _, u := range k.users() {
		if u.name == k.options.Username {
			u.password = password
		}
		upsertion, err := scramUpsertion(u)
		if err != nil {
			return err
		}
		req.Upsertions = append(req.Upsertions, upsertion)
	}
	resp, err := request[*kmsg.AlterUserSCRAMCredentialsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("change the password of %s: %w", r.User, err)
		}
	}
	k.mu.Lock()
	old := k.client
	k.client, k.password = nil, password
	k.mu.Unlock()
	old.Close()
	if err := k.broker.disconnect(ctx, k.users()[0].password); err != nil {
		return err
	}
	return k.ping(ctx)
}

func scramUpsertion(u account) (kmsg.AlterUserSCRAMCredentialsRequestUpsertion, error) {
	upsertion := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	salt := make([]byte, scramSaltBytes)
	if _, err := rand.Read(salt); err != nil {
		return upsertion, err
	}
	salted, err := pbkdf2.Key(sha512.New, u.password, salt, scramIterations, sha512.Size)
	if err != nil {
		return upsertion, err
	}
	upsertion.Name, upsertion.Mechanism, upsertion.Iterations = u.name, scramSHA512, scramIterations
	upsertion.Salt, upsertion.SaltedPassword = salt, salted
	return upsertion, nil
}

// acl is a rule for the one user.
type acl struct {
	resourceType kmsg.ACLResourceType
	resource     string // its name, or * for all
	operation    kmsg.ACLOperation
	permission   kmsg.ACLPermissionType
}

// allowEverything gives the user all rights on all topics and groups. A rule that denies a right
// overrules it.
func (k *Kafka) allowEverything(ctx context.Context) error {
	for _, resourceType := range []kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup} {
		if err := k.createACL(ctx, acl{resourceType, "*", kmsg.ACLOperationAll, kmsg.ACLPermissionTypeAllow}); err != nil {
			return err
		}
	}
	return nil
}

// DenyRead takes the user's right to read a topic. The user may still describe the topic. It needs
// KafkaOptions.ACLs.
func (k *Kafka) DenyRead(ctx context.Context, topic string) error {
	return k.createACL(ctx, acl{kmsg.ACLResourceTypeTopic, topic, kmsg.ACLOperationRead, kmsg.ACLPermissionTypeDeny})
}

func (k *Kafka) createACL(ctx context.Context, rule acl) error {
	creation := kmsg.NewCreateACLsRequestCreation()
	creation.ResourceType, creation.ResourceName, creation.ResourcePatternType = rule.resourceType, rule.resource, kmsg.ACLResourcePatternTypeLiteral
	creation.Principal, creation.Host = "User:"+k.options.Username, "*"
	creation.Operation, creation.PermissionType = rule.operation, rule.permission
	req := kmsg.NewPtrCreateACLsRequest()
	req.Creations = append(req.Creations, creation)
	resp, err := request[*kmsg.CreateACLsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("create an ACL for %s: %w", rule.resource, err)
		}
	}
	return nil
}

// AllowRead removes the rule that DenyRead made for a topic.
func (k *Kafka) AllowRead(ctx context.Context, topic string) error {
	filter := kmsg.NewDeleteACLsRequestFilter()
	filter.ResourceType, filter.ResourceName, filter.ResourcePatternType = kmsg.ACLResourceTypeTopic, new(topic), kmsg.ACLResourcePatternTypeLiteral
	filter.Operation, filter.PermissionType = kmsg.ACLOperationRead, kmsg.ACLPermissionTypeDeny
	req := kmsg.NewPtrDeleteACLsRequest()
	req.Filters = append(req.Filters, filter)
	resp, err := request[*kmsg.DeleteACLsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("delete the ACL for %s: %w", topic, err)
		}
	}
	return nil
}
