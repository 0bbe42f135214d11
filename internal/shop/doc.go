// Package shop shows what sessions do: a small shop whose every page says how
// it was served.
//
// It is server-rendered, without scripts or assets from elsewhere. Reading
// pages never writes; every change is a form that is posted and answered with
// a redirect. The exceptions are the two kinds of logout, which show at once
// which Regions have it: there is no session left that could keep the message.
//
// Routes: GET / /cart /login /account /api/session, and POST /cart/add
// /cart/remove /login /logout /logout/everywhere /visits /theme. Only /account
// is Strict. Any password that is not empty logs in any user.
//
// An edge in front must pass the Host header on: forms are refused that another
// origin sent, and old browsers tell theirs only by name.
//
// For tests in a browser, these ids are stable. The bar on every page:
// bar-region, bar-rung, bar-state, bar-user, bar-session, bar-left. On every
// page: cart-count, theme-auto, theme-light, theme-dark, logout (when logged
// in), login-link (when not). Catalogue: add-ITEM, visits-count, visits-add,
// and elements with data-item="ITEM". Cart: quantity-ITEM, remove-ITEM,
// remove-all-ITEM, cart-total, cart-empty. Login: login-user, login-password,
// login-submit. Account: account-user, logout-everywhere. Logout: logout-have,
// logout-waiting. Errors: error-title, error-text, retry. The items are
// notebook, map, mug, pack, lamp, blanket, compass and jacket.
package shop
