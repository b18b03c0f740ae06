-- One database and one role for each service: none reads another's. Runs once, when the volume is new.
\getenv user_password GOSHOP_STACK_USER_PASSWORD
\getenv product_password GOSHOP_STACK_PRODUCT_PASSWORD
\getenv order_password GOSHOP_STACK_ORDER_PASSWORD
\getenv payment_password GOSHOP_STACK_PAYMENT_PASSWORD

CREATE ROLE goshop_user LOGIN PASSWORD :'user_password';
CREATE ROLE goshop_product LOGIN PASSWORD :'product_password';
CREATE ROLE goshop_order LOGIN PASSWORD :'order_password';
CREATE ROLE goshop_payment LOGIN PASSWORD :'payment_password';

CREATE DATABASE goshop_user OWNER goshop_user TEMPLATE template0;
CREATE DATABASE goshop_product OWNER goshop_product TEMPLATE template0;
CREATE DATABASE goshop_order OWNER goshop_order TEMPLATE template0;
CREATE DATABASE goshop_payment OWNER goshop_payment TEMPLATE template0;

REVOKE CONNECT ON DATABASE goshop_user, goshop_product, goshop_order, goshop_payment, postgres FROM PUBLIC;
