//go:build race

package awsdeploy

// stride is how far the calls are apart at which tests have somebody die.
const stride = 5
